use strict;
use warnings;
use Redis;

sub work {
  die bless {}, 'DidNothing' if $ENV{WORK} eq 'nothing';
  print "ran\n";
  die "the answer timed out\n" if $ENV{WORK} eq 'timeout';
  return 'the response';
}

# SNIPPET
my %given = (born => $ENV{BORN}, hold => exists $ENV{HOLD});
my $answer = eval { once($ENV{KEY}, $ENV{CALL}, \&work, %given) };
my $error = $@;
if (!$error) {
  print 'answer ', $answer // '(none)', "\n";
} elsif (ref $error eq 'Forgotten') {
  print "forgotten\n";
} elsif (ref $error eq 'DidNothing' || $error eq "the answer timed out\n") {
  print "failed\n";
  exit 1;
} else {
  die $error;
}
