require 'redis'

def work
  puts 'ran'
  'the response'
end

key, call = ENV.values_at('KEY', 'CALL')
# SNIPPET
puts "answer #{answer || '(none)'}"
