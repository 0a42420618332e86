// Package imds hears from EC2's instance metadata that the machine it runs on goes: the source of notices for clusters that have no queue, with a
// process on every node.
//
// Watch asks again and again, and tells what is new and what is over. What it told is the same signal, with the same ID, as the one that a queue would
// have brought.
//
// The metadata tells less than a queue: not which hook waits, nor from when on. Nothing here answers a hook, and nothing falls back to the metadata
// service without tokens, which anything that can be made to send a request could ask.
package imds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Client makes a client of the metadata service. The service answers pods only if its hop limit is 2 or more, or to host network.
func Client(config aws.Config, options ...func(*imds.Options)) *imds.Client {
	return imds.NewFromConfig(config, append([]func(*imds.Options){func(o *imds.Options) { o.EnableFallback = aws.FalseTernary }}, options...)...)
}

// Self is the machine that asks.
type Self struct{ Instance, Region, Account string }

// Identity asks which machine this is.
func Identity(ctx context.Context, c *imds.Client) (Self, error) {
	doc, err := c.GetInstanceIdentityDocument(ctx, nil)
	if err != nil {
		return Self{}, fmt.Errorf("read identity of this instance: %w", err)
	}
	if doc.InstanceID == "" || doc.Region == "" {
		return Self{}, fmt.Errorf("read identity of this instance: the document names instance %q in region %q", doc.InstanceID, doc.Region)
	}
	return Self{doc.InstanceID, doc.Region, doc.AccountID}, nil
}

// longest is how much of an answer is read: the longest, a list of events, has a few hundred bytes each.
const longest = 64 << 10

// ask reads one item of the metadata. There is none when the service says 404: nothing is announced.
func ask(ctx context.Context, c *imds.Client, path string) (body string, err error) {
	out, err := c.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if answer := (*smithyhttp.ResponseError)(nil); errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("read metadata %s: %w", path, err)
	}
	defer out.Content.Close()
	raw, err := io.ReadAll(io.LimitReader(out.Content, longest+1))
	if err != nil {
		return "", fmt.Errorf("read metadata %s: %w", path, err)
	}
	if len(raw) > longest {
		return "", fmt.Errorf("read metadata %s: more than %d bytes", path, longest)
	}
	return string(raw), nil
}
