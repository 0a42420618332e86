package wire

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"strconv"
	"strings"

	"drover.dev/sandbox/cloud"
)

// maxObject is the largest object that can be put, far above a record and far below S3's own limit.
const maxObject = 32 << 20

// payload is the body of a request to S3, out of whatever it was wrapped in, and what the client says it sums up to.
type payload struct {
	data []byte
	sums map[string]string // by algorithm, as CRC32, in base64
}

// checksums are the algorithms that S3 knows.
var checksums = map[string]func() hash.Hash{
	"CRC32": func() hash.Hash { return crc32.NewIEEE() }, "CRC32C": func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"CRC64NVME": func() hash.Hash { return crc64.New(crc64.MakeTable(nvme)) }, "SHA1": sha1.New, "SHA256": sha256.New,
}

// nvme is the polynomial of CRC-64/NVME, reversed.
const nvme = 0x9a6c9329ac4bc9b5

// readPayload reads a body, aws-chunked or plain, and checks every sum that came with it.
func readPayload(r *http.Request) (payload, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxObject))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return payload{}, &cloud.Error{Code: "EntityTooLarge", Message: fmt.Sprintf("Your proposed upload exceeds %d bytes", maxObject), Status: 400}
		}
		return payload{}, incomplete("%v", err)
	}
	p := payload{data: raw, sums: map[string]string{}}
	said := r.Header
	digest := r.Header.Get("X-Amz-Content-Sha256")
	if strings.HasPrefix(digest, "STREAMING-") {
		var trailer http.Header
		if p.data, trailer, err = unchunk(raw); err != nil {
			return payload{}, err
		}
		if want := r.Header.Get("X-Amz-Decoded-Content-Length"); want != strconv.Itoa(len(p.data)) {
			return payload{}, incomplete("%d bytes came, %s were promised", len(p.data), want)
		}
		said = said.Clone()
		for name, values := range trailer {
			said[name] = values
		}
	} else if sum := sha256.Sum256(raw); len(digest) == 64 && digest != hex.EncodeToString(sum[:]) {
		return payload{}, &cloud.Error{Code: "XAmzContentSHA256Mismatch", Message: "The provided 'x-amz-content-sha256' header does not match what was computed.", Status: 400}
	}
	return p, p.check(said)
}

// check compares the body with every checksum that is said of it, and keeps them.
func (p *payload) check(said http.Header) error {
	for h, values := range said {
		name, ok := strings.CutPrefix(h, "X-Amz-Checksum-")
		if !ok || name == "Mode" {
			continue
		}
		algorithm := strings.ToUpper(name)
		fresh, known := checksums[algorithm]
		if !known {
			return cloud.NotSimulated("the header "+h, "S3")
		}
		sum := fresh()
		sum.Write(p.data) // a hash takes everything
		if values[0] != base64.StdEncoding.EncodeToString(sum.Sum(nil)) {
			return &cloud.Error{Code: "BadDigest", Message: "The " + algorithm + " you specified did not match the calculated checksum.", Status: 400}
		}
		p.sums[algorithm] = values[0]
	}
	return nil
}

func incomplete(format string, args ...any) error {
	return &cloud.Error{Code: "IncompleteBody", Message: "The request body terminated unexpectedly: " + fmt.Sprintf(format, args...), Status: 400}
}

// unchunk takes a body out of aws-chunked: chunks of a size in hex, perhaps with a signature, up to one of none, and a trailer.
func unchunk(raw []byte) (data []byte, trailer http.Header, err error) {
	in := bufio.NewReader(bytes.NewReader(raw))
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, nil, incomplete("no size of a chunk: %v", err)
		}
		text, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		size, err := strconv.ParseInt(text, 16, 32)
		if err != nil || size < 0 || size > maxObject {
			return nil, nil, incomplete("chunk size %q", text)
		}
		if size == 0 {
			break
		}
		chunk := make([]byte, size+2) // and the end of its line
		if _, err := io.ReadFull(in, chunk); err != nil || string(chunk[size:]) != "\r\n" {
			return nil, nil, incomplete("a chunk of %d bytes does not end after them", size)
		}
		data = append(data, chunk[:size]...)
	}
	trailer = http.Header{}
	for {
		line, err := in.ReadString('\n')
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			trailer.Set(name, strings.TrimSpace(value))
		}
		if err != nil {
			return data, trailer, nil
		}
	}
}
