work() {
  test "$WORK" = nothing && return 75
  echo ran >&2
  test "$WORK" = timeout && return 1
  echo 'the response'
}

# SNIPPET
answer=$(once "$KEY" "$BORN" "$HOLD")
case $? in
0) echo "answer $answer" ;;
2) echo 'answer (none)' ;;
3) echo forgotten ;;
*) echo failed && exit 1 ;;
esac
