package awsdouble

import (
	"fmt"
	"net/http"
)

// apiError is an error that AWS would return.
type apiError struct {
	code    string
	status  int
	message string
}

func (e *apiError) Error() string {
	return e.code + ": " + e.message
}

func failure(status int, code, format string, arguments ...any) *apiError {
	return &apiError{code: code, status: status, message: fmt.Sprintf(format, arguments...)}
}

func notFound(format string, arguments ...any) *apiError {
	return failure(http.StatusNotFound, "ResourceNotFoundException", format, arguments...)
}

func invalidParameter(format string, arguments ...any) *apiError {
	return failure(http.StatusBadRequest, "InvalidParameterException", format, arguments...)
}

func invalidRequest(format string, arguments ...any) *apiError {
	return failure(http.StatusBadRequest, "InvalidRequestException", format, arguments...)
}

func accessDenied(c *call, action, resource string) *apiError {
	code := "AccessDeniedException"
	if c.service.isQuery() {
		code = "AccessDenied"
	}
	return failure(http.StatusForbidden, code,
		"User: %s is not authorized to perform: %s on resource: %s", c.principal.ARN, action, resource)
}
