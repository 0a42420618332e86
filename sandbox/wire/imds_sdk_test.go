package wire

import (
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

func TestSDKReadsMetadata(t *testing.T) {
	r := newRig(t)
	r.fleet()
	id := *r.members()[0].InstanceId
	client := imds.New(imds.Options{Endpoint: strings.Replace(r.url, "http://", "http://"+id+"@", 1)})
	region := ok[*imds.GetRegionOutput](t)(client.GetRegion(ctx, &imds.GetRegionInput{}))
	if region.Region != r.cloud.Region() {
		t.Fatalf("region %s", region.Region)
	}
	out := ok[*imds.GetMetadataOutput](t)(client.GetMetadata(ctx, &imds.GetMetadataInput{Path: "instance-id"}))
	defer out.Content.Close()
	if body, err := io.ReadAll(out.Content); err != nil || string(body) != id {
		t.Fatalf("got %q, %v", body, err)
	}
}
