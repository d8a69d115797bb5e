// Compares the mappings that the authenticator uses with the stored ConfigMap.
// A test that writes aws-auth waits until they are equal, because requests would
// otherwise still be authenticated with the old mappings.
package main

import (
	"context"
	"reflect"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/aws-iam-authenticator/pkg/config"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/configmap"
)

type mappings struct {
	roles    map[string]config.RoleMapping
	users    map[string]config.UserMapping
	accounts map[string]any
}

// currentMappings returns the mappings that the mapper uses now.
func currentMappings(m *configmap.ConfigMapMapper) mappings {
	store := reflect.ValueOf(m.MapStore).Elem()
	lock := unexportedField[sync.RWMutex](store, "mutex")
	lock.RLock()
	defer lock.RUnlock()
	// The mapper replaces these maps as a whole and never modifies them.
	return mappings{
		roles:    *unexportedField[map[string]config.RoleMapping](store, "roles"),
		users:    *unexportedField[map[string]config.UserMapping](store, "users"),
		accounts: *unexportedField[map[string]any](store, "awsAccounts"),
	}
}

// storedMappings returns the mappings that the mapper has once it has read the
// ConfigMap that is stored now.
func storedMappings(ctx context.Context, client kubernetes.Interface) (mappings, error) {
	var data map[string]string
	stored, err := client.CoreV1().ConfigMaps("kube-system").Get(ctx, "aws-auth", metav1.GetOptions{})
	if err == nil {
		data = stored.Data
	} else if !apierrors.IsNotFound(err) {
		return mappings{}, err
	}
	users, roles, accounts, _ := configmap.ParseMap(data)
	m := mappings{
		roles:    map[string]config.RoleMapping{},
		users:    map[string]config.UserMapping{},
		accounts: map[string]any{},
	}
	for _, role := range roles {
		m.roles[role.Key()] = role
	}
	for _, user := range users {
		m.users[user.Key()] = user
	}
	for _, account := range accounts {
		m.accounts[account] = nil
	}
	return m, nil
}

func (m mappings) equal(other mappings) bool {
	return sameMap(m.roles, other.roles) && sameMap(m.users, other.users) && sameMap(m.accounts, other.accounts)
}

// sameMap treats nil as empty: before its first event the mapper has no maps.
func sameMap[V any](a, b map[string]V) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

// parseErrors returns the messages of the errors that the parser has collected.
func parseErrors(err error) []string {
	texts := []string{}
	if parsing, ok := err.(configmap.ErrParsingMap); ok {
		collected := reflect.New(reflect.TypeOf(parsing)).Elem()
		collected.Set(reflect.ValueOf(parsing))
		for _, parseError := range *unexportedField[[]error](collected, "errors") {
			texts = append(texts, parseError.Error())
		}
	} else if err != nil {
		texts = append(texts, err.Error())
	}
	return texts
}
