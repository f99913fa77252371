package main

import (
	"fmt"
	"os"
	"time"

	"github.com/gomodule/redigo/redis"
)

var key, call, answer = os.Getenv("KEY"), os.Getenv("CALL"), "(none)"

func work() string {
	fmt.Println("ran")
	return "the response"
}

func run() error {
	// SNIPPET
	return err
}

func main() {
	if err := run(); err != nil {
		panic(err)
	}
	fmt.Println("answer", answer)
}
