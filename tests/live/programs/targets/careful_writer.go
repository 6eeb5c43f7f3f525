// Raises a set point by one. The new settings get a name of their own, are on the disk, and replace the old in a step.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

const name = "thermostat.json"

type settings struct {
	Target int `json:"target"`
	Check  int `json:"check"`
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "the set point is unchanged or unsure:", err)
		os.Exit(1)
	}
}

func read() settings {
	content, err := os.ReadFile(name)
	check(err)
	var found settings
	if err := json.Unmarshal(content, &found); err != nil || found.Check != found.Target*7+3 {
		fmt.Fprintln(os.Stderr, name, "is damaged; put a good one back")
		os.Exit(1)
	}
	return found
}

func fill(file *os.File, content []byte) error {
	_, err := file.Write(content)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err == nil {
		err = file.Sync()
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	return err
}

func write(changed settings) error {
	content, err := json.Marshal(changed)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(".", ".thermostat-*")
	if err != nil {
		return err
	}
	if err = fill(file, append(content, '\n')); err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		os.Remove(file.Name())
		return err
	}
	directory, err := os.Open(".")
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}

func main() {
	stale, err := filepath.Glob(".thermostat-*")
	check(err)
	for _, path := range stale {
		check(os.Remove(path))
	}
	target := read().Target + 1
	check(write(settings{Target: target, Check: target*7 + 3}))
	_, err = fmt.Println("the target is", target)
	check(err)
}
