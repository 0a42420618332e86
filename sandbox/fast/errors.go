package fast

import (
	"errors"
	"fmt"
	"strings"

	"drover.dev/fleet"
	"drover.dev/sandbox/cloud"
)

// expired lists the codes by which AWS says that credentials are no good; no retry mends them.
var expired = map[string]bool{"ExpiredToken": true, "ExpiredTokenException": true, "RequestExpired": true, "AuthFailure": true}

// explain makes of AWS's answer what package aws makes of it.
func explain(err error) error {
	var api *cloud.Error
	if !errors.As(err, &api) {
		return err
	}
	switch {
	case expired[api.Code]:
		return &fleet.Fatal{Err: fmt.Errorf("AWS credentials are not accepted: %s: %s; renew them (aws sso login) and start again: drover goes on where it stopped", api.Code, api.Message)}
	case api.Code == "AccessDenied" || api.Code == "AccessDeniedException" || api.Code == "UnauthorizedOperation":
		return &fleet.Fatal{Err: fmt.Errorf("AWS refuses: %s: %s; grant drover that permission", api.Code, api.Message)}
	case api.Code == "ScalingActivityInProgress" || api.Code == "ResourceContention" || api.Code == "ResourceInUseException" || api.Code == "TooManyRequestsException" || strings.Contains(api.Code, "Throttling") || api.Code == "RequestLimitExceeded":
		return &fleet.Refused{Reason: fmt.Sprintf("AWS is busy: %s: %s", api.Code, api.Message)}
	}
	return fmt.Errorf("%s: %s", api.Code, api.Message)
}

// doing puts what was being done before what AWS answered.
func doing(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, explain(err))
}

// codeIs tells whether an error of AWS has this code.
func codeIs(err error, code string) bool {
	var api *cloud.Error
	return errors.As(err, &api) && api.Code == code
}
