package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover.dev/sandbox"
)

func (a *app) sandboxDo(f *sandboxFlags) *cobra.Command {
	var long strings.Builder
	long.WriteString("Do to the running sandbox what AWS or a person would: take a spot instance back, even out zones, end an instance. NODE is a node's name or\nan instance's id.\n")
	for _, d := range sandbox.Deeds {
		fmt.Fprintf(&long, "\n  %-45s %s", d.Name+" "+d.Args, d.Does)
	}
	return &cobra.Command{
		Use: "do DEED [ARG...]", Short: "Do what AWS or a person would: take a spot instance back, even out zones, end an instance",
		Long:    long.String(),
		Example: "  drover sandbox do spot ip-127-20-1-1.eu-west-1.compute.internal\n  drover sandbox do az-rebalance web\n  drover sandbox do schedule i-0123456789abcdef0 2h",
		Args:    cobra.MinimumNArgs(1), ValidArgs: deedNames(),
		RunE: func(c *cobra.Command, args []string) error {
			w, err := f.running()
			if err != nil {
				return err
			}
			said, err := request(c.Context(), w.Endpoint, sandbox.Request{Deed: args[0], Args: args[1:]})
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, said)
			return nil
		},
	}
}

func deedNames() []string {
	var out []string
	for _, d := range sandbox.Deeds {
		out = append(out, d.Name+"\t"+d.Does)
	}
	return out
}

// request has a running sandbox do something.
func request(ctx context.Context, endpoint string, q sandbox.Request) (string, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return "", fmt.Errorf("sandbox: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, sandbox.DoURL(endpoint), bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("sandbox: %w", err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", fmt.Errorf("sandbox: %w", err)
	}
	defer resp.Body.Close()
	var answer sandbox.Answer
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", fmt.Errorf("sandbox: its answer (%s) is not understood: %w; was it started by another version of drover?", resp.Status, err)
	}
	if answer.Error != "" {
		return "", errors.New(answer.Error)
	}
	return answer.Said, nil
}
