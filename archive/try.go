package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// probeKey is what Try writes: no environment is named so.
const probeKey = ".drover-probe"

// Try tells why copies of an environment's records could not be kept at a place, before one has to be. Without write it only looks, and a folder that is not
// there yet is no reason. With write it leaves a small text there, always the same: what may write copies need not be able to delete any.
func (a *Archive) Try(ctx context.Context, url, environment string, write bool) error {
	place, on, err := a.shelf(url)
	if err != nil {
		return err
	}
	if err := validName("environment", environment); err != nil {
		return err
	}
	if _, err := on.list(ctx, environment); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("try archive %s: %w", place, err)
	}
	if !write {
		return nil
	}
	body := []byte("drover writes this to see whether it can keep copies of records here\n")
	err = on.write(ctx, probeKey, body)
	if err == nil {
		err = verify(ctx, on, probeKey, body, place.at(probeKey))
	}
	if err != nil {
		return fmt.Errorf("try archive %s: %w", place, err)
	}
	return nil
}
