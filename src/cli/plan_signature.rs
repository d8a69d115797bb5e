//! Signatures of saved plans, so that a plan file that crosses machines can be trusted: `plan --sign-key` writes the
//! signature, and `apply --verify-key` refuses a plan without it.
//!
//! The signature is beside the plan, in `FILE.sig`, in the format of `ssh-keygen -Y sign` over the bytes of the file.
//! `ssh-keygen` can therefore make it as well, with a key in an agent or on a hardware token.
//!
//! No error of the library is printed: it has seen the key.

#![expect(clippy::disallowed_methods, reason = "reads the keys and the signature")]

use std::path::{Path, PathBuf};

use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use super::env::Env;
use super::write_output;
use crate::diagnostic::Diagnostic;
use crate::files::OutputKind;
use crate::ops::CommandError;

/// What a signature is for, as `ssh-keygen -Y sign -n` has it. A signature for another purpose is not valid for a plan.
const NAMESPACE: &str = "rolecall-plan";
const PASSPHRASE_VARIABLE: &str = "ROLECALL_SIGN_PASSPHRASE";

fn error(message: String, help: &str) -> CommandError {
    CommandError::from_diagnostic(Diagnostic::error(message).with_help(help))
}

/// Returns the path of the signature of a plan.
fn signature_path(plan: &Path) -> PathBuf {
    let mut name = plan.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

fn is_supported(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Ed25519 | Algorithm::Ecdsa { .. })
}

fn unsupported(path: &Path, algorithm: &Algorithm) -> CommandError {
    let message = format!("{}: rolecall does not support keys of the type {algorithm}", path.display());
    let mut diagnostic = Diagnostic::error(message);
    if matches!(algorithm, Algorithm::Rsa { .. }) {
        // https://rustsec.org/advisories/RUSTSEC-2023-0071
        diagnostic =
            diagnostic.with_because("RSA in Rust leaks the private key through its timing (RUSTSEC-2023-0071)");
    }
    CommandError::from_diagnostic(
        diagnostic.with_help("use an Ed25519 or ECDSA key, such as one made by `ssh-keygen -t ed25519`"),
    )
}

/// A private key that is ready to sign.
pub(crate) struct SigningKey(PrivateKey);

impl SigningKey {
    /// Reads the private key, before the plan is made. Asks for its passphrase if it is encrypted.
    pub(crate) fn read(path: &Path, env: &mut Env) -> Result<Self, CommandError> {
        let shown = path.display();
        let text = std::fs::read(env.cwd.join(path))
            .map_err(|io_error| error(format!("cannot read the key {shown}: {io_error}"), "pass --sign-key KEY"))?;
        let invalid = || {
            error(format!("{shown} is not a private key of OpenSSH"), "use the file that `ssh-keygen -t ed25519` makes")
        };
        env.inputs.record(&env.cwd.join(path), "the key");
        let key = PrivateKey::from_openssh(text).map_err(|_| invalid())?;
        if !is_supported(&key.algorithm()) {
            return Err(unsupported(path, &key.algorithm()));
        }
        if !key.is_encrypted() {
            return Ok(Self(key));
        }
        let passphrase = match env.vars.get(PASSPHRASE_VARIABLE) {
            Some(passphrase) => passphrase.clone(),
            None if env.terminals.stdin => env.prompt_secret(&format!("Passphrase of {shown}: ")),
            None => {
                let message = format!("the key {shown} is encrypted, and stdin is not a terminal");
                return Err(error(message, &format!("set {PASSPHRASE_VARIABLE}, or use a key without a passphrase")));
            }
        };
        let decrypted = key.decrypt(passphrase).map_err(|_| {
            error(format!("cannot decrypt the key {shown}"), "check the passphrase and the type of encryption")
        })?;
        Ok(Self(decrypted))
    }

    /// Writes the signature of a plan beside it.
    pub(crate) fn sign(&self, plan: &Path, text: &str, env: &mut Env) -> Result<PathBuf, CommandError> {
        let signature = self.0.sign(NAMESPACE, HashAlg::Sha512, text.as_bytes());
        let pem = signature.and_then(|signature| signature.to_pem(LineEnding::LF)).map_err(|_| {
            error("cannot sign the plan with this key".to_owned(), "use a key that `ssh-keygen -t ed25519` makes")
        })?;
        let path = signature_path(plan);
        write_output(&path, &pem, OutputKind::Signature, env)?;
        Ok(path)
    }
}

/// Reads the public keys: one in each line, as in a `.pub` file or in `authorized_keys`.
fn read_public_keys(path: &Path, env: &Env) -> Result<Vec<PublicKey>, CommandError> {
    let shown = path.display();
    let text = std::fs::read_to_string(env.cwd.join(path))
        .map_err(|io_error| error(format!("cannot read the key {shown}: {io_error}"), "pass --verify-key PUB"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Result<Vec<PublicKey>, _> = lines.map(PublicKey::from_openssh).collect();
    let keys = keys.ok().filter(|keys| !keys.is_empty()).ok_or_else(|| {
        error(
            format!("{shown} is not a public key of OpenSSH"),
            "use the .pub file of the key, with one key in each line",
        )
    })?;
    match keys.iter().find(|key| !is_supported(&key.algorithm())) {
        Some(key) => Err(unsupported(path, &key.algorithm())),
        None => Ok(keys),
    }
}

/// Checks that one of the keys signed the plan.
///
/// # Errors
/// If the plan has no signature, or if it is of another key, for another purpose or over another text.
pub(super) fn verify(plan: &Path, text: &[u8], key_path: &Path, env: &Env) -> Result<(), CommandError> {
    let keys = read_public_keys(key_path, env)?;
    let path = signature_path(plan);
    let (shown, key) = (plan.display(), key_path.display());
    let refuse = |message: String, because: String| {
        let error = Diagnostic::error(message).with_because(because).with_note("no changes were made");
        CommandError::from_diagnostic(
            error.with_help(format!("make a signed plan with `rolecall plan --out {shown} --sign-key KEY`")),
        )
    };
    let pem = std::fs::read_to_string(env.cwd.join(&path)).map_err(|io_error| {
        refuse(format!("the plan {shown} is not signed"), format!("cannot read {}: {io_error}", path.display()))
    })?;
    let signature = SshSig::from_pem(pem).map_err(|_| {
        refuse(format!("the plan {shown} is not signed"), format!("{} is not a signature of OpenSSH", path.display()))
    })?;
    let invalid = |because: String| refuse(format!("the signature of the plan {shown} is not valid"), because);
    if signature.namespace() != NAMESPACE {
        return Err(invalid(format!("it was not made for the purpose `{NAMESPACE}`")));
    }
    let Some(signer) = keys.iter().find(|key| key.key_data() == signature.public_key()) else {
        return Err(invalid(format!("it was made with a key that is not in {key}")));
    };
    signer.verify(NAMESPACE, text, &signature).map_err(|_| {
        invalid(
            "the file was changed after it was signed; apply changes it too, since a plan is applied once".to_owned(),
        )
    })
}
