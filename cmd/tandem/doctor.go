package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newDoctor(_ stdio, _ *flags) *cobra.Command {
	return &cobra.Command{Use: "doctor", Hidden: true, RunE: func(*cobra.Command, []string) error { return errors.New("not here yet") }}
}
