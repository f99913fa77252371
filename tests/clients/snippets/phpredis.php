<?php
function work() {
  echo "ran\n";
  return 'the response';
}

[$key, $call] = [getenv('KEY'), getenv('CALL')];
// SNIPPET
echo 'answer ', $answer ?? '(none)', "\n";
