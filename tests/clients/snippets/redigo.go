package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"
)

// SNIPPET

func work() (string, error) {
	switch os.Getenv("WORK") {
	case "nothing":
		return "", fmt.Errorf("the bank is closed: %w", ErrDidNothing)
	case "timeout":
		fmt.Println("ran")
		return "", errors.New("the answer timed out")
	}
	fmt.Println("ran")
	return "the response", nil
}

func main() {
	idem, err := open()
	if err != nil {
		panic(err)
	}
	born, _ := strconv.ParseInt(os.Getenv("BORN"), 10, 64)
	hold := os.Getenv("HOLD") != ""
	answer, err := once(idem, os.Getenv("KEY"), os.Getenv("CALL"), born, hold, work)
	switch {
	case err == nil:
		fmt.Println("answer", answer)
	case errors.Is(err, ErrForgotten):
		fmt.Println("forgotten")
	case errors.Is(err, ErrNotNow):
		fmt.Println("answer (none)")
	default:
		fmt.Println("failed")
		os.Exit(1)
	}
}
