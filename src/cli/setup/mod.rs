//! `saker setup`: certificates, API-server configuration, admission webhooks, saker.yaml.
//!
//! Each part only makes text and files; nothing here talks to a cluster.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::certificates::CertificateError;

pub mod admission;
pub mod apiserver;
pub mod certs;
pub mod config;

/// Prepare certificates, the API server, and the configuration file.
#[derive(Debug, Args)]
pub struct SetupArgs {
    #[command(subcommand)]
    pub command: SetupCommand,
}

#[derive(Debug, Subcommand)]
pub enum SetupCommand {
    /// Make a CA, a server and a client certificate.
    #[command(after_help = certs::EXAMPLES)]
    Certs(certs::CertsArgs),
    /// Print what makes kube-apiserver send its audit events here.
    #[command(after_help = apiserver::EXAMPLES)]
    Apiserver(apiserver::ApiserverArgs),
    /// Print what makes kube-apiserver say who is about to enter a pod.
    #[command(after_help = admission::EXAMPLES)]
    Admission(admission::AdmissionArgs),
    /// Print a saker.yaml with every key, its default, and what it means.
    #[command(after_help = config::EXAMPLES)]
    Config,
}

/// Why a set-up step was not done.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("{0}")]
    Refused(String),
    #[error("cannot read `{}`: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the output: {0}")]
    Print(io::Error),
}

/// Runs the subcommand: the result on stdout, an error on stderr.
pub fn run(args: SetupArgs) -> ExitCode {
    let done = execute(args).and_then(|text| {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // The reader (`head`, a pager) has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(SetupError::Print),
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell when stderr is gone as well.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the subcommand prints.
pub fn execute(args: SetupArgs) -> Result<String, SetupError> {
    match args.command {
        SetupCommand::Certs(args) => certs::make(&args),
        SetupCommand::Apiserver(args) => apiserver::make(&args),
        SetupCommand::Admission(args) => admission::make(&args),
        SetupCommand::Config => Ok(config::TEMPLATE.to_owned()),
    }
}

#[cfg(test)]
mod tests;
