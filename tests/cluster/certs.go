// The keys and certificates of the cluster. It has its own certificate
// authority, as every EKS cluster has, so that clients are tested with a CA file
// instead of disabled verification.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

type keys struct {
	ca             string
	serverCert     string
	serverKey      string
	serviceAccount string
}

func makeKeys(dir string) (keys, error) {
	k := keys{
		ca:             filepath.Join(dir, "ca.crt"),
		serverCert:     filepath.Join(dir, "server.crt"),
		serverKey:      filepath.Join(dir, "server.key"),
		serviceAccount: filepath.Join(dir, "service-account.key"),
	}
	if _, err := makeKey(k.serviceAccount); err != nil {
		return k, err
	}
	caKey, err := makeKey(filepath.Join(dir, "ca.key"))
	if err != nil {
		return k, err
	}
	caCert := certificate(1, "kubernetes")
	caCert.IsCA = true
	caCert.BasicConstraintsValid = true
	caCert.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	if err := sign(k.ca, caCert, caCert, &caKey.PublicKey, caKey); err != nil {
		return k, err
	}
	serverKey, err := makeKey(k.serverKey)
	if err != nil {
		return k, err
	}
	server := certificate(2, "kube-apiserver")
	server.KeyUsage = x509.KeyUsageDigitalSignature
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.DNSNames = []string{"localhost", "kubernetes.default.svc"}
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	return k, sign(k.serverCert, server, caCert, &serverKey.PublicKey, caKey)
}

func certificate(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

func sign(path string, cert, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, public, key)
	if err != nil {
		return err
	}
	return writePEM(path, "CERTIFICATE", der)
}

func makeKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
