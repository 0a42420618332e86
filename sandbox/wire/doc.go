// Package wire puts the simulated AWS of package cloud on HTTP, in AWS's own protocols, so that aws-sdk-go-v2, the aws command
// line and other people's tools talk to it unchanged: one endpoint for Auto Scaling, Elastic Load Balancing v2, SNS, STS and RDS (the
// query protocol), EC2 (its own dialect of it), EKS (REST-JSON), SQS, EventBridge, Service Quotas and Systems Manager (JSON); of the last
// two just what preflight and node groups ask; and S3, for whole objects in buckets named in the path. SQS's older query protocol is not spoken.
//
// [Handler] is all there is to use. Requests are decoded by reflection into the SDK's own Input types and its Output types are
// written out the same way, so that names and shapes cannot drift from the SDK's. Each action lists the fields it honours; a
// request that sets another field, or calls another action, is answered NotSimulated rather than half obeyed.
//
// Below /imds/INSTANCE-ID the same handler is the metadata service of that instance (IMDSv2): the aws command line finds it by
// AWS_EC2_METADATA_SERVICE_ENDPOINT. The SDK for Go drops the path of an endpoint; for it the endpoint is http://INSTANCE-ID@HOST:PORT.
//
// Signatures are not verified, so this must never listen where strangers can reach it. A request without any signature is
// refused as AWS would, and an access key id that begins with EXPIRED gets ExpiredToken.
package wire
