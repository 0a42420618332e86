package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"drover.dev/sandbox/cloud"
)

// answer is the reply to one request, written once.
type answer struct {
	w       http.ResponseWriter
	id      string // of the request
	service *service
	dialect dialect
	kind    string // of the request's body, if it is JSON
	action  string
}

// success writes out, a pointer to one of the SDK's Output types.
func (a *answer) success(out any) {
	v := reflect.ValueOf(out).Elem()
	if a.dialect == json1 || a.dialect == restjson {
		a.writeJSON(200, encodeJSON(v, a.dialect))
		return
	}
	e := &encoder{dialect: a.dialect}
	e.open(a.action+"Response", a.service.xmlns)
	if a.dialect == ec2q {
		e.text("requestId", a.id)
		if v.NumField() <= 2 { // nothing but metadata: EC2 then says that it went well
			e.text("return", "true")
		}
		e.fields(v)
	} else {
		e.open(a.action+"Result", "")
		e.fields(v)
		e.close(a.action + "Result")
		e.open("ResponseMetadata", "")
		e.text("RequestId", a.id)
		e.close("ResponseMetadata")
	}
	e.close(a.action + "Response")
	a.write(200, "text/xml;charset=UTF-8", e.Bytes())
}

// asAWS is an error as AWS has them. One that is not AWS's is a fault of the sandbox.
func asAWS(err error) *cloud.Error {
	var known *cloud.Error
	if !errors.As(err, &known) {
		known = &cloud.Error{Code: "InternalFailure", Message: err.Error(), Status: 500}
	}
	return known
}

// fail writes err in the form of the service and returns its code.
func (a *answer) fail(err error) string {
	known := asAWS(err)
	e := &encoder{dialect: a.dialect}
	fault := "Sender"
	if known.Status >= 500 {
		fault = "Receiver"
	}
	switch a.dialect {
	case json1, restjson:
		a.w.Header().Set("x-amzn-ErrorType", known.Code)
		if a.service != nil && a.service.name == "sqs" {
			a.w.Header().Set("x-amzn-query-error", queryCode(known.Code)+";"+fault)
		}
		// Services do not agree on how to write "message".
		a.writeJSON(known.Status, map[string]string{"__type": known.Code, "message": known.Message, "Message": known.Message})
		return known.Code
	case ec2q:
		e.open("Response", "")
		e.open("Errors", "")
		e.open("Error", "")
		e.text("Code", known.Code)
		e.text("Message", known.Message)
		e.close("Error")
		e.close("Errors")
		e.text("RequestID", a.id)
		e.close("Response")
	default:
		xmlns := ""
		if a.service != nil {
			xmlns = a.service.xmlns
		}
		fault := "Sender"
		if known.Status >= 500 {
			fault = "Receiver"
		}
		e.open("ErrorResponse", xmlns)
		e.open("Error", "")
		e.text("Type", fault)
		e.text("Code", known.Code)
		e.text("Message", known.Message)
		e.close("Error")
		e.text("RequestId", a.id)
		e.close("ErrorResponse")
	}
	a.write(known.Status, "text/xml;charset=UTF-8", e.Bytes())
	return known.Code
}

func (a *answer) write(status int, kind string, body []byte) {
	a.w.Header().Set("Content-Type", kind)
	a.w.Header().Set("x-amzn-RequestId", a.id)
	a.w.WriteHeader(status)
	a.w.Write(body) // whoever hung up does not want to hear about it
}

// encoder writes the SDK's types as a service's XML.
type encoder struct {
	bytes.Buffer
	dialect dialect
}

func (e *encoder) open(name, xmlns string) {
	if xmlns != "" {
		fmt.Fprintf(e, "<%s xmlns=%q>", name, xmlns)
		return
	}
	fmt.Fprintf(e, "<%s>", name)
}

func (e *encoder) close(name string) { fmt.Fprintf(e, "</%s>", name) }

func (e *encoder) text(name, s string) {
	e.open(name, "")
	xml.EscapeText(e, []byte(s)) // a Buffer takes everything
	e.close(name)
}

func (e *encoder) fields(v reflect.Value) {
	for f, value := range v.Fields() {
		if !f.IsExported() || f.Name == "ResultMetadata" {
			continue
		}
		name := f.Name
		if e.dialect == ec2q {
			name = ec2ResponseName(v.Type(), f.Name)
		}
		e.value(name, value)
	}
}

// value writes one field; what is not set is left out.
func (e *encoder) value(name string, v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			e.present(name, v.Elem())
		}
	case (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.IsNil(), v.Kind() == reflect.String && v.Len() == 0:
	default:
		e.present(name, v)
	}
}

func (e *encoder) present(name string, v reflect.Value) {
	switch {
	case v.Type() == timeType:
		e.text(name, v.Interface().(time.Time).UTC().Format("2006-01-02T15:04:05.000Z"))
	case v.Type() == byteType:
		e.text(name, base64.StdEncoding.EncodeToString(v.Bytes()))
	case v.Kind() == reflect.Struct:
		e.open(name, "")
		e.fields(v)
		e.close(name)
	case v.Kind() == reflect.Slice:
		item := memberName(e.dialect, name, v.Type().Elem())
		e.open(name, "")
		for i := range v.Len() {
			e.present(item, v.Index(i))
		}
		e.close(name)
	case v.Type() == textsType:
		e.open(name, "")
		texts := v.Interface().(map[string]string)
		for _, k := range sortedKeys(texts) {
			e.open("entry", "")
			e.text("key", k)
			e.text("value", texts[k])
			e.close("entry")
		}
		e.close(name)
	case v.Kind() == reflect.String, v.Kind() == reflect.Bool, v.CanInt(), v.CanFloat():
		e.text(name, fmt.Sprint(v.Interface()))
	default:
		panic("no XML form for " + name + " of type " + v.Type().String())
	}
}
