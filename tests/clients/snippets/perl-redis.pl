use strict;
use warnings;
use Redis;

my ($key, $call, $answer) = @ENV{'KEY', 'CALL'};

sub work {
  print "ran\n";
  return 'the response';
}

# SNIPPET
print 'answer ', $answer // '(none)', "\n";
