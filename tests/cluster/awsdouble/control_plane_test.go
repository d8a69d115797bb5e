package awsdouble

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
)

// known tells whether the next server that is asked knows the entry of the caller.
func (f *fixture) known(sessionARN, canonicalARN string) bool {
	f.Helper()
	id, err := f.PrincipalID(sessionARN)
	f.ok(err)
	_, _, ok := f.EntryIdentity(Principal{ID: id, CanonicalARN: canonicalARN})
	return ok
}

func TestEntriesOfRecreatedRolesAreDead(t *testing.T) {
	f := startWithEntries(t)
	canonical := "arn:aws:iam::111122223333:role/dev"
	_, err := f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(role)})
	f.ok(err)
	equal(f, f.known(dev, canonical), true)
	_, err = f.SetPrincipals([]PrincipalInput{{ARN: role, Recreated: true}})
	f.ok(err)
	equal(f, f.known(dev, canonical), false)
	described, err := f.eks().DescribeAccessEntry(f.ctx, &eks.DescribeAccessEntryInput{ClusterName: testCluster, PrincipalArn: aws.String(role)})
	f.ok(err)
	equal(f, *described.AccessEntry.PrincipalArn, role)
	_, err = f.eks().DeleteAccessEntry(f.ctx, &eks.DeleteAccessEntryInput{ClusterName: testCluster, PrincipalArn: aws.String(role)})
	f.ok(err)
	_, err = f.create(eks.CreateAccessEntryInput{PrincipalArn: aws.String(role)})
	f.ok(err)
	equal(f, f.known(dev, canonical), true)
}

func TestServersLearnOfChangesLater(t *testing.T) {
	f := startWithEntries(t)
	now := time.Now()
	f.clock = func() time.Time { return now }
	_, err := f.SetSettings(Settings{DelayMS: 2000, FlapMS: 3000, IAMDelayMS: 10000})
	f.ok(err)
	canonical := "arn:aws:iam::111122223333:role/new"
	_, err = f.SetPrincipals([]PrincipalInput{{ARN: canonical}})
	f.ok(err)
	input := eks.CreateAccessEntryInput{PrincipalArn: aws.String(canonical)}
	_, err = f.create(input)
	f.wantError(err, "InvalidParameterException", "invalid principal")
	now = now.Add(10 * time.Second)
	_, err = f.create(input)
	f.ok(err)
	for seconds, want := range []string{"no no", "no no", "yes no", "yes no", "yes no", "yes yes"} {
		answers := map[bool]string{true: "yes", false: "no"}
		session := "arn:aws:sts::111122223333:assumed-role/new/x"
		first := answers[f.known(session, canonical)]
		if got := first + " " + answers[f.known(session, canonical)]; got != want {
			f.Fatalf("after %d s: %s instead of %s", seconds, got, want)
		}
		now = now.Add(time.Second)
	}
}
