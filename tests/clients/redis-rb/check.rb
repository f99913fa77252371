# redis-rb: every step, with `call` and the client's own methods.
require 'redis'

BODY = '{"id":1}'.freeze
META = '201'.freeze
BINARY_KEY = "bin\r\n\0\xff key".b
BINARY_BODY = ((0..255).map(&:chr).join + "\r\n\0\r\n$5\r\n").b
$stdout.sync = true

def expect(condition, what)
  raise what unless condition
end

def step(name)
  result = yield
  puts "ok #{name}"
  result
rescue StandardError => e
  puts "not ok #{name} #{e.class}: #{e.message.inspect}"
  exit 1
end

def await(what)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 60
  until yield
    expect(Process.clock_gettime(Process::CLOCK_MONOTONIC) < deadline, "#{what} did not come")
    sleep 0.005
  end
end

def connection(name)
  Redis.new(host: ENV.fetch('IDEM_HOST'), port: ENV.fetch('IDEM_PORT').to_i, id: name, timeout: 120,
            reconnect_attempts: 20, reconnect_delay: 0.05, reconnect_delay_max: 0.2)
end

def refused(redis, code, *args)
  reply = redis.call(*args)
  raise "#{code} expected, got #{reply.inspect}"
rescue Redis::CommandError => e
  expect(e.message.include?(code), e.message)
end

first = connection('first')
second = connection('second')

step('connect') { expect(first.ping == 'PONG' && second.ping == 'PONG', 'PING') }
step('name') do
  expect(first.call('CLIENT', 'SETNAME', 'ruby') == 'OK', 'CLIENT SETNAME')
  expect(first.call('CLIENT', 'GETNAME') == 'ruby', 'CLIENT GETNAME')
end
token = step('claim') do
  reply = first.call('IDEM.CLAIM', 'order-1', 'FP', 'fp-1', 'OWNER', 'call-1', 'LEASE', 600_000)
  expect(reply[0] == 'CLAIMED' && reply[1].is_a?(Integer) && reply[2..] == [600_000, 1, nil],
      reply.inspect)
  reply[1]
end
step('duplicate') do
  reply = first.call('IDEM.CLAIM', 'order-1', 'FP', 'fp-1', 'OWNER', 'call-2')
  expect(reply[0] == 'BUSY' && reply[1].between?(1, 600_000), reply.inspect)
  expect(reply[3..] == ['call-1', nil], reply.inspect)
end
waiter = Thread.new { second.call('IDEM.CLAIM', 'order-1', 'FP', 'fp-1', 'WAIT', 50_000) }
step('store') do
  await('a waiting connection') { first.info('clients')['blocked_clients'] == '1' }
  expect(first.call('IDEM.STORE', 'order-1', token, BODY, 'TTL', 60_000, 'META', META) == 1,
      'one waiting caller')
end
step('wait') { expect(waiter.value[0, 3] == ['DONE', BODY, META], waiter.value.inspect) }
step('replay') do
  [%w[IDEM.CLAIM order-1 FP fp-1], %w[IDEM.FETCH order-1]].each do |command|
    reply = first.call(*command)
    expect(reply[0, 3] == ['DONE', BODY, META] && reply[4].between?(1, 60_000), reply.inspect)
  end
end
step('binary') do
  claim = first.call('IDEM.CLAIM', BINARY_KEY)
  expect(first.call('IDEM.STORE', BINARY_KEY, claim[1], BINARY_BODY).zero?, 'STORE')
  expect(first.call('IDEM.FETCH', BINARY_KEY)[1].b == BINARY_BODY, 'the body came back changed')
  expect(first.get(BINARY_KEY).b == BINARY_BODY, 'GET of the record')
end
step('refusal') do
  refused(first, 'MISMATCH', 'IDEM.CLAIM', 'order-1', 'FP', 'fp-2')
  refused(first, 'STALE', 'IDEM.STORE', 'order-1', token - 1, 'x')
  refused(first, 'unknown command', 'LPUSH', 'a', 'b')
end
step('null') { expect(first.call('IDEM.FETCH', 'nobody').nil?, 'FETCH of nothing') }
step('strings') do
  expect(first.set('lock', 'mine', nx: true, px: 600_000) == true, 'SET NX PX')
  expect(first.set('lock', 'yours', nx: true, px: 600_000) == false, 'a second SET NX')
  expect(first.get('lock') == 'mine' && first.pttl('lock').between?(1, 600_000), 'GET, PTTL')
  expect(first.del('lock') == 1 && first.exists('lock').zero?, 'DEL, EXISTS')
end
step('transaction') do
  got = first.multi { |t| t.set('t', '1'); t.get('t'); t.del('t') }
  expect(got == ['OK', '1', 1], got.inspect)
end
step('pubsub') do
  channel = '__idem__:order-2'
  seen = nil
  listener = Thread.new do
    second.subscribe(channel) do |on|
      on.message do |_, message|
        seen = message
        second.unsubscribe
      end
    end
  end
  await('a listener') { first.pubsub('numsub', channel) == [channel, 1] }
  claim = first.call('IDEM.CLAIM', 'order-2')
  first.call('IDEM.STORE', 'order-2', claim[1], BODY)
  listener.join(10)
  expect(seen == 'done', seen.inspect)
end
step('pipeline') do
  claimed = first.pipelined { |p| 200.times { |i| p.call(['IDEM.CLAIM', "many-#{i}"]) } }
  tokens = claimed.map { |reply| reply[1] }
  expect(tokens.size == 200 && tokens == tokens.uniq.sort, 'tokens rise')
  stored = first.pipelined do |p|
    tokens.each_with_index { |token, i| p.call(['IDEM.STORE', "many-#{i}", token, i.to_s]) }
  end
  expect(stored == [0] * 200, stored.inspect)
end
step('reconnect') do
  puts 'restart'
  expect($stdin.gets == "restarted\n", 'the server was not restarted')
  reply = first.call('IDEM.CLAIM', 'order-1')
  expect(reply[0] == 'CLAIMED' && reply[1] > token && reply[3] == 1, reply.inspect)
end
