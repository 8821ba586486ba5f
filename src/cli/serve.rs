//! `saker serve`: the server.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{USAGE, fail, start_log};
use crate::app::{App, LoadedProbe, ProbeSummary, describe_outputs, load_probe, load_rules};
use crate::config::{self, AlertFormat, Config, LogFormat, OutputConfig, OutputKind, SourceName, StdoutConfig};
use crate::event::Source;

const EXAMPLES: &str = "\
Examples:
  saker serve                                  # https://127.0.0.1:9443/k8s-audit, built-in rules, alerts on stdout
  saker serve -c /etc/saker/saker.yaml
  saker serve -r local_rules.yaml --format json | jq .rule
  saker serve -c saker.yaml --check-config     # say what is wrong, and exit";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Configuration file; `saker setup config` prints one
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Rule file or directory, loaded after the built-in rules; may be given several times
    #[arg(short, long = "rules", value_name = "RULES")]
    rules: Vec<PathBuf>,
    /// Leave the built-in rules out
    #[arg(long)]
    no_default_rules: bool,
    /// Form of alerts on standard output
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Address of the webhook
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDR:PORT")]
    status_listen: Option<SocketAddr>,
    /// Sources to run
    #[arg(long, value_delimiter = ',', value_parser = source)]
    sources: Vec<SourceName>,
    /// Write what the kernel and the bus tell into a file, for replay and `saker sessions`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Check the configuration and the rules, and exit
    #[arg(long)]
    check_config: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

impl From<Format> for AlertFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => AlertFormat::Text,
            Format::Json => AlertFormat::Json,
        }
    }
}

fn source(text: &str) -> Result<SourceName, String> {
    match text {
        "k8s_audit" => Ok(SourceName::K8sAudit),
        "syscall" => Ok(SourceName::Syscall),
        other => Err(format!("`{other}` is no source; sources are k8s_audit and syscall")),
    }
}

pub fn run(args: ServeArgs) -> ExitCode {
    let config = match effective(&args) {
        Ok(config) => config,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            return ExitCode::from(USAGE);
        }
    };
    if let Err(error) = start_log(&config.log.level, config.log.format == LogFormat::Json) {
        let _ = writeln!(io::stderr(), "saker: {error}");
        return ExitCode::from(USAGE);
    }
    if args.check_config {
        return check(&config);
    }
    // Before there are other threads: capabilities are given up by each thread for itself.
    let probe = load_probe(&config);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the runtime: {error}")),
    };
    runtime.block_on(serve(config, probe))
}

/// The file, then the environment, then the arguments.
fn effective(args: &ServeArgs) -> Result<Config, config::ConfigError> {
    let mut config = config::load(args.config.as_deref(), std::env::vars())?;
    config.rules.files.extend(args.rules.iter().cloned());
    config.rules.builtin &= !args.no_default_rules;
    if let Some(listen) = args.listen {
        config.webhook.listen = listen;
    }
    if let Some(listen) = args.status_listen {
        config.status.listen = listen;
    }
    if args.record.is_some() {
        config.syscall.record.clone_from(&args.record);
    }
    if !args.sources.is_empty() {
        config.sources.clone_from(&args.sources);
    }
    if let Some(format) = args.format {
        let stdout = config.outputs.iter_mut().find_map(|o| match &mut o.kind {
            OutputKind::Stdout(stdout) => Some(stdout),
            _ => None,
        });
        match stdout {
            Some(stdout) => stdout.format = format.into(),
            None => config.outputs.push(OutputConfig {
                name: None,
                priority: crate::event::Priority::Debug,
                queue: 10_000,
                when_full: None,
                kind: OutputKind::Stdout(StdoutConfig { format: format.into() }),
            }),
        }
    }
    Ok(config)
}

fn check(config: &Config) -> ExitCode {
    let sources = [SourceName::K8sAudit, SourceName::Syscall]
        .into_iter()
        .filter(|s| config.runs(*s));
    let mut sources: Vec<Source> = sources.map(SourceName::source).collect();
    sources.extend((config.runs(SourceName::Syscall) && config.attribution.enabled).then_some(Source::K8sExec));
    let result = load_rules(config, &sources, |diagnostic, loaded| {
        let _ = writeln!(io::stderr(), "{}", diagnostic.render(&loaded.sources));
    });
    match result {
        Ok((_, summary)) => super::print(
            format!(
                "configuration and rules are fine: {} rules, {} warnings\n",
                summary.rules, summary.warnings
            )
            .as_bytes(),
        ),
        Err(error) => fail(&error.to_string()),
    }
}

async fn serve(config: Config, probe: LoadedProbe) -> ExitCode {
    let bound = App::bind(config, probe, |diagnostic, loaded| {
        // At a start, warnings of the built-in rules would be ours to mend and are none of the user's business.
        if diagnostic.is_error()
            || !loaded
                .sources
                .locate(diagnostic.at.start)
                .is_some_and(|l| l.file.starts_with("rules/"))
        {
            let _ = writeln!(io::stderr(), "{}", diagnostic.render(&loaded.sources));
        }
    });
    let app = match bound {
        Ok(app) => app,
        Err(error) => return fail(&error.to_string()),
    };
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        return fail("cannot listen for signals");
    };
    let _ = io::stderr().lock().write_all(first_lines(&app).as_bytes());
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let result = app.run(shutdown, async move || {
        if hangup.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    });
    match result.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// Where it listens, what is loaded, and how to try it.
fn first_lines(app: &App) -> String {
    let summary = app.rules_summary();
    let config = app.config();
    let mut out = format!("saker {}\n", env!("CARGO_PKG_VERSION"));
    let builtin = if config.rules.builtin {
        "built-in rules"
    } else {
        "no built-in rules"
    };
    let own: Vec<String> = config.rules.files.iter().map(|p| p.display().to_string()).collect();
    let own = if own.is_empty() {
        String::new()
    } else {
        format!(" and {}", own.join(", "))
    };
    out += &format!(
        "  rules    {} loaded from {} files: {builtin}{own}",
        summary.rules, summary.files
    );
    out += &match summary.skipped {
        0 => "\n".to_owned(),
        n => format!("; {n} left out, their source does not run here\n"),
    };
    out += &format!("  alerts   {}\n", describe_outputs(&config.outputs));
    if let Some(address) = app.status_address() {
        out += &format!("  status   http://{address}/healthz, /readyz, /metrics\n");
    }
    match app.probe_summary() {
        ProbeSummary::NotWanted => {}
        ProbeSummary::Attached(what) => out += &format!("  syscall  {what}\n"),
        ProbeSummary::Missing(why, help) => out += &format!("  syscall  does not run: {why}; {help}\n"),
    }
    for file in &config.files {
        out += &format!("  file     {}\n", file.path.display());
    }
    if let Some(address) = app.webhook_address() {
        let url = format!("https://{address}{}", config.webhook.path);
        out += &format!("  webhook  {url}\n");
        let tls = &config.webhook.tls;
        let mut curl = "curl".to_owned();
        match app.development_certificate() {
            Some(made) => {
                let fresh = if made.created { "just made" } else { "made before" };
                out += &format!(
                    "           certificate for development, {fresh}: {}\n",
                    made.cert.display()
                );
                curl += &format!(" --cacert {}", made.ca.display());
            }
            None => curl += " --cacert CA.crt",
        }
        if tls.client_ca.is_some() {
            curl += " --cert CLIENT.crt --key CLIENT.key";
        }
        if config.webhook.token_file.is_some() {
            curl += " -H \"Authorization: Bearer $TOKEN\"";
        }
        out += &format!(
            "\ntry it:\n  {curl} -H 'Content-Type: application/json' \\\n    --data-binary @tests/fixtures/example-batch.json {url}\n\n"
        );
    }
    out
}
