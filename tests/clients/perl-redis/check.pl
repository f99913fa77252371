# Redis.pm: every step. Any method that it does not know is sent as a command of that name. One
# thread: what waits is a command with a callback, which Redis.pm sends at once and reads later.
use strict;
use warnings;
use Redis;
use Time::HiRes qw(sleep time);

my ($BODY, $META) = ('{"id":1}', '201');
my ($claim, $store, $fetch) = ('IDEM.CLAIM', 'IDEM.STORE', 'IDEM.FETCH');
my $BINARY_KEY = "bin\r\n\0\xff key";
my $BINARY_BODY = join('', map { chr } 0 .. 255) . "\r\n\0\r\n\$5\r\n";
$| = 1;

sub expect {
  my ($condition, $what) = @_;
  die "$what\n" unless $condition;
}

sub show { join ' ', map { defined $_ ? $_ : '(null)' } ref $_[0] ? @{$_[0]} : @_ }

sub step {
  my ($name, $code) = @_;
  my $result = eval { $code->() };
  if ($@) {
    (my $why = $@) =~ s/\s+/ /g;
    print "not ok $name $why\n";
    exit 1;
  }
  print "ok $name\n";
  return $result;
}

sub until_true {
  my ($condition, $what) = @_;
  my $deadline = time + 60;
  until ($condition->()) {
    expect(time < $deadline, "$what did not come");
    sleep 0.005;
  }
}

sub connection {
  return Redis->new(server => "$ENV{IDEM_HOST}:$ENV{IDEM_PORT}", name => $_[0],
    reconnect => 60, every => 50_000, read_timeout => 120);
}

sub refused {
  my ($redis, $code, $method, @args) = @_;
  my $reply = eval { $redis->$method(@args) };
  expect($@ =~ /\Q$code\E/, "$code expected, got " . ($@ || show($reply)));
}

my ($first, $second);
step connect => sub {
  ($first, $second) = (connection('first'), connection('second'));
  expect($first->ping && $second->ping, 'PING');
};
step name => sub {
  expect($first->client_getname eq 'first', 'the name given at connect');
  expect($first->client_setname('perl') eq 'OK' && $first->client_getname eq 'perl',
      'CLIENT SETNAME, GETNAME');
};
my $token = step claim => sub {
  my $reply = $first->$claim('order-1', FP => 'fp-1', OWNER => 'call-1', LEASE => 600000);
  expect($reply->[0] eq 'CLAIMED' && $reply->[2] == 600000 && $reply->[3] == 1 &&
      !defined $reply->[4], show($reply));
  return $reply->[1];
};
step duplicate => sub {
  my $reply = $first->$claim('order-1', FP => 'fp-1', OWNER => 'call-2');
  expect(@$reply == 5 && $reply->[0] eq 'BUSY' && $reply->[1] > 0 && $reply->[1] <= 600000 &&
      $reply->[3] eq 'call-1', show($reply));
};
my ($waited, $failed);
$second->$claim('order-1', FP => 'fp-1', WAIT => 50000, sub { ($waited, $failed) = @_ });
step store => sub {
  until_true(sub { $first->info->{blocked_clients} == 1 }, 'a waiting connection');
  expect($first->$store('order-1', $token, $BODY, TTL => 60000, META => $META) == 1,
      'one waiting caller');
};
step wait => sub {
  $second->wait_one_response;
  expect(!$failed && show([@$waited[0 .. 2]]) eq "DONE $BODY $META", $failed || show($waited));
};
step replay => sub {
  for my $reply (scalar $first->$claim('order-1', FP => 'fp-1'), scalar $first->$fetch('order-1')) {
    expect(show([@$reply[0 .. 2]]) eq "DONE $BODY $META" && $reply->[4] > 0 &&
        $reply->[4] <= 60000, show($reply));
  }
};
step binary => sub {
  my $granted = $first->$claim($BINARY_KEY);
  expect($first->$store($BINARY_KEY, $granted->[1], $BINARY_BODY) == 0, 'STORE');
  expect($first->$fetch($BINARY_KEY)->[1] eq $BINARY_BODY, 'the body came back changed');
  expect($first->get($BINARY_KEY) eq $BINARY_BODY, 'GET of the record');
};
step refusal => sub {
  refused($first, 'MISMATCH', $claim, 'order-1', FP => 'fp-2');
  refused($first, 'STALE', $store, 'order-1', $token - 1, 'x');
  refused($first, 'unknown command', 'lpush', 'a', 'b');
};
step null => sub { expect(!defined scalar $first->$fetch('nobody'), 'FETCH of nothing') };
step strings => sub {
  expect($first->set('lock', 'mine', 'NX', 'PX', 600000) eq 'OK', 'SET NX PX');
  expect(!defined $first->set('lock', 'yours', 'NX', 'PX', 600000), 'a second SET NX');
  expect($first->get('lock') eq 'mine' && $first->pttl('lock') > 0, 'GET, PTTL');
  expect($first->del('lock') == 1 && !$first->exists('lock'), 'DEL, EXISTS');
};
step transaction => sub {
  $first->multi;
  $first->set('t', '1');
  $first->get('t');
  $first->del('t');
  expect(show([$first->exec]) eq 'OK 1 1', 'MULTI ... EXEC');
};
step pubsub => sub {
  my ($channel, $seen) = ('__idem__:order-2');
  $second->subscribe($channel, sub { $seen = shift });
  until_true(sub { show($first->pubsub('numsub', $channel)) =~ / 1$/ }, 'a listener');
  my $granted = $first->$claim('order-2');
  $first->$store('order-2', $granted->[1], $BODY);
  until_true(sub { $second->wait_for_messages(0.1); defined $seen }, 'a message');
  expect($seen eq 'done', $seen);
};
step pipeline => sub {
  my (@tokens, @stored);
  $first->$claim("many-$_", sub { push @tokens, $_[0][1] }) for 0 .. 199;
  $first->wait_all_responses;
  expect(@tokens == 200, scalar @tokens);
  expect($tokens[$_] < $tokens[$_ + 1], 'tokens rise') for 0 .. 198;
  $first->$store("many-$_", $tokens[$_], $_, sub { push @stored, $_[0] }) for 0 .. 199;
  $first->wait_all_responses;
  expect(show(\@stored) eq show([(0) x 200]), 'STORE in a pipeline');
};
step reconnect => sub {
  print "restart\n";
  expect(scalar(<STDIN>) eq "restarted\n", 'the server was not restarted');
  my $reply = $first->$claim('order-1');
  expect($reply->[0] eq 'CLAIMED' && $reply->[1] > $token && $reply->[3] == 1, show($reply));
};
