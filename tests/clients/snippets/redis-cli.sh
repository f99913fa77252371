key=$KEY call=$CALL

work() {
  echo ran >&2
  echo 'the response'
}

# SNIPPET
echo "answer ${answer:-(none)}"
