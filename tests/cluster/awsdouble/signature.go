package awsdouble

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	amzDate       = "20060102T150405Z"
	signatureSpan = 15 * time.Minute
)

// authorization is the header of a request that is signed with Signature Version 4.
// The check is written from the documentation of AWS and not with one of its SDKs,
// so that an error of an SDK is not repeated here.
type authorization struct {
	accessKey, date, region, service string
	signedHeaders                    []string
	signature                        string
}

func parseAuthorization(header string) (authorization, error) {
	var a authorization
	fields, ok := strings.CutPrefix(header, "AWS4-HMAC-SHA256 ")
	if !ok {
		return a, errors.New("the algorithm is not AWS4-HMAC-SHA256")
	}
	for _, field := range strings.Split(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			scope := strings.Split(value, "/")
			if len(scope) != 5 || scope[4] != "aws4_request" {
				return a, errors.New("the credential scope has another form than KEY/DATE/REGION/SERVICE/aws4_request")
			}
			a.accessKey, a.date, a.region, a.service = scope[0], scope[1], scope[2], scope[3]
		case "SignedHeaders":
			a.signedHeaders = strings.Split(value, ";")
		case "Signature":
			a.signature = value
		}
	}
	if a.accessKey == "" || a.signedHeaders == nil || a.signature == "" {
		return a, errors.New("the Authorization header requires Credential, SignedHeaders and Signature")
	}
	return a, nil
}

// verify returns the reason why the signature is not valid.
func (a authorization) verify(r *http.Request, body []byte, now time.Time) error {
	stamp := r.Header.Get("X-Amz-Date")
	at, err := time.Parse(amzDate, stamp)
	if err != nil {
		return errors.New("the header X-Amz-Date is missing or has another form than " + amzDate)
	}
	if a.date != stamp[:8] {
		return fmt.Errorf("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s'.", a.date, stamp[:8])
	}
	if at.Before(now.Add(-signatureSpan)) {
		return fmt.Errorf("Signature expired: %s is now earlier than %s (%s - 15 min.)",
			stamp, now.Add(-signatureSpan).UTC().Format(amzDate), now.UTC().Format(amzDate))
	}
	if at.After(now.Add(signatureSpan)) {
		return fmt.Errorf("Signature not yet current: %s is still later than %s (%s + 15 min.)",
			stamp, now.Add(signatureSpan).UTC().Format(amzDate), now.UTC().Format(amzDate))
	}
	for name := range r.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-amz-") && !slices.Contains(a.signedHeaders, lower) {
			return fmt.Errorf("'%s' must be a 'SignedHeader' in the AWS Authorization.", lower)
		}
	}
	if !slices.Contains(a.signedHeaders, "host") {
		return errors.New("'Host' must be a 'SignedHeader' in the AWS Authorization.")
	}
	if !hmac.Equal([]byte(a.expected(r, body, stamp)), []byte(a.signature)) {
		return errors.New("The request signature we calculated does not match the signature you provided. " +
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return nil
}

func (a authorization) expected(r *http.Request, body []byte, stamp string) string {
	var headers strings.Builder
	for _, name := range a.signedHeaders {
		fmt.Fprintf(&headers, "%s:%s\n", name, headerValue(r, name))
	}
	canonical := strings.Join([]string{
		r.Method,
		// Each segment is encoded twice: once in the URL, and once here.
		encodeURI(r.URL.EscapedPath(), true),
		canonicalQuery(r.URL.RawQuery),
		headers.String(),
		strings.Join(a.signedHeaders, ";"),
		hexHash(body),
	}, "\n")
	scope := strings.Join([]string{a.date, a.region, a.service, "aws4_request"}, "/")
	key := []byte("AWS4" + SecretKey)
	for _, part := range strings.Split(scope, "/") {
		key = hmacSHA256(key, part)
	}
	return hex.EncodeToString(hmacSHA256(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hexHash([]byte(canonical))))
}

func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	values := r.Header.Values(name)
	trimmed := make([]string, len(values))
	for i, value := range values {
		trimmed[i] = strings.Join(strings.Fields(value), " ")
	}
	return strings.Join(trimmed, ",")
}

func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	var pairs []string
	for _, pair := range strings.Split(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		pairs = append(pairs, encodeURI(decoded(name), false)+"="+encodeURI(decoded(value), false))
	}
	sort.Strings(pairs)
	return strings.Join(pairs, "&")
}

func decoded(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return text
	}
	return plain
}

func encodeURI(text string, keepSlash bool) string {
	var out strings.Builder
	for _, b := range []byte(text) {
		letter := b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b >= '0' && b <= '9'
		if letter || strings.IndexByte("-._~", b) >= 0 || keepSlash && b == '/' {
			out.WriteByte(b)
		} else {
			fmt.Fprintf(&out, "%%%02X", b)
		}
	}
	return out.String()
}

func hmacSHA256(key []byte, text string) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write([]byte(text))
	return hash.Sum(nil)
}

func hexHash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
