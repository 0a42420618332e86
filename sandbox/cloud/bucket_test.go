package cloud

import (
	"fmt"
	"testing"
)

func TestBucket(t *testing.T) {
	l := newLab(t, Config{})
	l.refused(l.CreateBucket("records", ""), "IllegalLocationConstraintException", "us-east-1")
	l.refused(l.CreateBucket("Records!", "eu-west-1"), "InvalidBucketName", "Records!")
	l.must(l.CreateBucket("records", "eu-west-1"))
	l.refused(l.CreateBucket("records", "eu-west-1"), "BucketAlreadyOwnedByYou", "")
	_, err := l.PutObject("none", Object{Key: "a"}, Condition{})
	l.refused(err, "NoSuchBucket", "none")

	first, err := l.PutObject("records", Object{Key: "p/a", Body: []byte("one")}, Condition{Absent: true})
	l.must(err)
	l.equal("etag", first.ETag, "f97c5d29941bfb1b2fdab0874906ab82")
	_, err = l.PutObject("records", Object{Key: "p/a", Body: []byte("two")}, Condition{Absent: true})
	l.refused(err, "PreconditionFailed", "")
	_, err = l.PutObject("records", Object{Key: "p/a", Body: []byte("two")}, Condition{ETag: "other"})
	l.refused(err, "PreconditionFailed", "")
	_, err = l.PutObject("records", Object{Key: "p/b", Body: []byte("two")}, Condition{ETag: first.ETag})
	l.refused(err, "NoSuchKey", "p/b")
	_, err = l.PutObject("records", Object{Key: "p/a", Body: []byte("two")}, Condition{ETag: first.ETag})
	l.must(err)
	got, err := l.GetObject("records", "p/a")
	l.must(err)
	got.Body[0] = 'X' // a copy, which changes nothing
	got, err = l.GetObject("records", "p/a")
	l.must(err)
	l.equal("body", string(got.Body), "two")

	for _, key := range []string{"p/c", "q/a", "p"} {
		_, err := l.PutObject("records", Object{Key: key}, Condition{})
		l.must(err)
	}
	l.must(l.DeleteObject("records", "p/none"))
	l.must(l.DeleteObject("records", "p/c"))
	all, err := l.ListObjects("records", "p/")
	l.must(err)
	l.equal("listed", fmt.Sprint(len(all), all[0].Key), "1p/a")
	l.Throttle("s3:PutObject", 1)
	_, err = l.PutObject("records", Object{Key: "p/d"}, Condition{})
	l.refused(err, "SlowDown", "")
	l.LoseReply("s3:PutObject")
	_, err = l.PutObject("records", Object{Key: "p/d"}, Condition{})
	l.refused(err, "InternalFailure", "")
	_, err = l.HeadObject("records", "p/d")
	l.must(err)
}
