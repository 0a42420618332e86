package wire

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drover.dev/sandbox/cloud"
)

// page cuts one page out of a list. The token names the last item shown and its place, so that items that come or go between
// two pages neither repeat nor hide others. Lengths out of [1, limit] are refused; without one the page has usual items.
func page[T any](all []T, key func(T) string, token *string, length *int32, usual, limit int) ([]T, *string, error) {
	size := usual
	if length != nil {
		size = int(*length)
		if size < 1 || size > limit {
			return nil, nil, &cloud.Error{Code: "ValidationError", Message: fmt.Sprintf("The page size %d must be between 1 and %d", size, limit), Status: 400}
		}
	}
	start := 0
	if token != nil && *token != "" {
		place, last, err := readToken(*token)
		if err != nil {
			return nil, nil, err
		}
		start = min(place, len(all))
		if at := slices.IndexFunc(all, func(item T) bool { return key(item) == last }); at >= 0 {
			start = at + 1
		}
	}
	end := min(start+size, len(all))
	if end == len(all) {
		return all[start:], nil, nil
	}
	next := base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(end) + " " + key(all[end-1])))
	return all[start:end], &next, nil
}

func readToken(token string) (place int, last string, err error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	number, last, ok := strings.Cut(string(text), " ")
	place, wrong := strconv.Atoi(number)
	if err != nil || !ok || wrong != nil || place < 0 {
		return 0, "", &cloud.Error{Code: "InvalidNextToken", Message: "The token '" + token + "' is invalid.", Status: 400}
	}
	return place, last, nil
}
