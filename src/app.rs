//! The composition root: configuration to bound application, run, drain. The only file that sees everything.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter as PrometheusCounter;
use tokio::sync::{mpsc, watch};

use crate::bus::nats::NatsError;
use crate::certificates::{self, CertificateError, DevCertificate};
use crate::config::{BusKind, Config, FileSourceConfig, OutputConfig, SourceName};
use crate::credentials::inspection::Inspector;
use crate::engine::diagnostic::Diagnostic;
use crate::engine::{Loaded, RuleSet};
use crate::event::Source;
use crate::fields::evt::Host;
use crate::metrics::{Metrics, OutputLabels, copy_counter};
use crate::outputs::{OutputCounters, OutputError, Outputs};
use crate::rulefiles::{self, RuleFilesError};
use crate::sources::audit::files::{self, Counters, StopFlag};
use crate::sources::audit::pipeline::{AuditPipeline, DeadLetter, DeadLetterError};
use crate::sources::audit::tls::{TlsError, TlsFiles};
use crate::sources::audit::webhook::{Reload, Webhook, WebhookError};
use crate::sources::syscall::permissions;
use crate::sources::syscall::probe::{Probe, ProbeError, Setup};
use crate::sources::syscall::reader::Reader;
use crate::sources::syscall::service::{Delivery, Service};
use crate::watch::{Group, WatchError, Watcher};
use crate::web::readiness::Readiness;
use crate::web::sessions::{SessionsError, SessionsServer};
use crate::web::status::{StatusError, StatusServer};

mod bus;

use bus::Bus;

/// Directory of the certificate that `serve` makes itself when none is configured.
const DEVELOPMENT_CERTIFICATES: &str = "certs";

/// Why the application cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Rules(#[from] RuleFilesError),
    /// The diagnostics have been rendered already.
    #[error("rules have {0} errors")]
    BadRules(usize),
    #[error(transparent)]
    Outputs(#[from] OutputError),
    #[error(transparent)]
    DeadLetter(#[from] DeadLetterError),
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    #[error(transparent)]
    Status(#[from] StatusError),
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error("the probe cannot run: {error}\n  help: {}", .error.help())]
    Probe { error: ProbeError },
    #[error(transparent)]
    Sessions(#[from] SessionsError),
    #[error("cannot write the recording `{}`: {source}", path.display())]
    Record { path: PathBuf, source: std::io::Error },
    #[error("no way from the audit source to the syscall source: {0}")]
    Queue(std::io::Error),
    #[error("the bus cannot start: {0}")]
    Bus(#[from] NatsError),
    #[error("the thread of the syscall source: {0}")]
    Thread(std::io::Error),
    #[error("nothing to do: the webhook is disabled, `files` is empty, and the syscall source does not run")]
    NoSource,
}

/// The application with its ports bound; nothing runs yet.
pub struct App {
    config: Config,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    outputs: Outputs,
    pipeline: Arc<AuditPipeline>,
    rules: Arc<ArcSwap<RuleSet>>,
    webhook: Option<Webhook>,
    status: Option<StatusServer>,
    watcher: Watcher,
    /// Names of groups of files that have changed since they were about to be loaded.
    changes: mpsc::UnboundedReceiver<&'static str>,
    certificate: Option<DevCertificate>,
    summary: RulesSummary,
    syscall: Option<Reader<Delivery>>,
    sessions: Option<SessionsServer>,
    bus: Bus,
    probe: ProbeSummary,
    /// Sources that run.
    sources: Vec<Source>,
}

/// The probe, or why there is none; loaded before any thread runs, so that what it takes can be given up for all.
pub type LoadedProbe = Option<Result<Probe, ProbeError>>;

/// Loads the probe if the configuration asks for it, and gives up the capabilities that nobody needs any more.
pub fn load_probe(config: &Config) -> LoadedProbe {
    if !config.runs(SourceName::Syscall) {
        return None;
    }
    let probe = Probe::load(Setup::of(&config.syscall));
    if config.syscall.drop_capabilities
        && probe.is_ok()
        && let Err(error) = permissions::reduce()
    {
        tracing::warn!(%error, "capabilities cannot be given up");
    }
    Some(probe)
}

/// What the first lines say of the syscall source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeSummary {
    NotWanted,
    /// Why, and what would help.
    Missing(String, String),
    Attached(String),
}

/// What was loaded, for the first lines.
#[derive(Clone, Debug, Default)]
pub struct RulesSummary {
    pub rules: usize,
    pub files: usize,
    pub warnings: usize,
    pub skipped: usize,
}

impl RulesSummary {
    fn of(loaded: &Loaded) -> RulesSummary {
        RulesSummary {
            rules: loaded.rules.as_ref().map_or(0, |r| r.rules().count()),
            files: loaded.sources.files().len(),
            warnings: loaded.diagnostics.iter().filter(|d| !d.is_error()).count(),
            skipped: loaded.skipped.len(),
        }
    }
}

/// Loads the rules that the configuration names; what is wrong with them goes to `report`.
///
/// # Errors
/// Unreadable files, or rules with errors.
pub fn load_rules(
    config: &Config,
    sources: &[Source],
    mut report: impl FnMut(&Diagnostic, &Loaded),
) -> Result<(RuleSet, RulesSummary), StartError> {
    let mut loaded = rulefiles::load(&config.rules, &config.fields, sources.to_vec())?;
    loaded.diagnostics.iter().for_each(|d| report(d, &loaded));
    let summary = RulesSummary::of(&loaded);
    let errors = loaded.errors().count();
    match loaded.rules.take() {
        Some(rules) => Ok((rules, summary)),
        None => Err(StartError::BadRules(errors)),
    }
}

/// The name and zone of the machine.
pub fn host() -> Host {
    let name = nix::unistd::gethostname()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_else(|_| "localhost".to_owned());
    let name = std::env::var("FALCO_HOSTNAME").unwrap_or(name);
    Host {
        name: name.into(),
        zone: jiff::tz::TimeZone::system(),
    }
}

impl App {
    /// Loads rules, opens outputs, and takes ports. Must be called on a runtime.
    ///
    /// # Errors
    /// Whatever would keep a part from running; nothing runs then.
    pub fn bind(
        mut config: Config,
        probe: LoadedProbe,
        report: impl FnMut(&Diagnostic, &Loaded),
    ) -> Result<App, StartError> {
        if !config.runs(SourceName::K8sAudit) {
            config.webhook.enabled = false;
            config.files.clear();
        }
        let audit = config.webhook.enabled || !config.files.is_empty();
        let (probe, mut probe_summary) = match probe {
            None => (None, ProbeSummary::NotWanted),
            Some(Ok(probe)) => (Some(probe), ProbeSummary::Attached(String::new())),
            // Whoever named it wants nothing else, or everything else as well.
            Some(Err(error)) if !audit => return Err(StartError::Probe { error }),
            Some(Err(error)) => (None, ProbeSummary::Missing(error.to_string(), error.help())),
        };
        if !audit && probe.is_none() {
            return Err(StartError::NoSource);
        }
        let mut sources = Vec::new();
        sources.extend(audit.then_some(Source::K8sAudit));
        sources.extend(probe.is_some().then_some(Source::Syscall));
        sources.extend((probe.is_some() && config.attribution.enabled).then_some(Source::K8sExec));
        let mut certificate = None;
        if config.webhook.enabled && config.webhook.tls.cert.is_none() {
            let made = certificates::ensure_development(DEVELOPMENT_CERTIFICATES.as_ref())?;
            config.webhook.tls.cert = Some(made.cert.clone());
            config.webhook.tls.key = Some(made.key.clone());
            certificate = Some(made);
        }
        // Before anything is loaded, so that no change falls between loading and watching.
        let (changed, changes) = mpsc::unbounded_channel();
        let watcher = Watcher::new(watched(&config).map_err(WebhookError::from)?, move |group| {
            // An error means that the application has ended.
            let _ = changed.send(group);
        })?;
        let (rules, summary) = load_rules(&config, &sources, report)?;
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        let metrics = Arc::new(Metrics::new());
        metrics.reloaded("rules");
        let readiness = Readiness::new();
        let counters = Arc::new(OutputCounters::default());
        let outputs = Outputs::start(&config.outputs, Arc::clone(&counters))?;
        export_outputs(&metrics, &outputs, &counters);
        let host = Arc::new(host());
        let mut syscall = None;
        let mut sessions = None;
        if let Some(probe) = probe {
            let mut attribution = config.attribution.clone();
            // Whoever takes reviews has a clock of its own then.
            attribution.remote = config.bus.kind == BusKind::Nats;
            let mut reader = Reader::new(
                probe,
                Arc::clone(&rules),
                Arc::clone(&host),
                &config.syscall,
                &attribution,
                Delivery::new(outputs.clone(), Arc::clone(&metrics)),
            )
            .map_err(|error| StartError::Probe { error })?;
            if let Some(path) = &config.syscall.record {
                record(&mut reader, path).map_err(|source| StartError::Record {
                    path: path.clone(),
                    source,
                })?;
            }
            sessions = bus::bind_sessions(&config, &mut reader)?;
            probe_summary = ProbeSummary::Attached(reader.describe());
            readiness.expect("syscall");
            syscall = Some(reader);
        }
        let bus = Bus::connect(&config, audit, syscall.as_mut(), &host)?;
        bus.export(&metrics);
        let dead_letter = DeadLetter::open(&config.webhook.dead_letter)?;
        let pipeline = Arc::new(AuditPipeline::new(
            Arc::clone(&rules),
            outputs.clone(),
            Arc::clone(&metrics),
            host,
            dead_letter,
            bus.publisher.clone(),
            Arc::new(Inspector::new(config.credentials.allow.clone())),
        ));
        let mut webhook = None;
        if config.webhook.enabled {
            readiness.expect("webhook");
            let evaluator = Arc::clone(&pipeline);
            let bound = Webhook::bind(
                &config.webhook,
                config.cluster.clone(),
                Arc::new(move |body: &[u8], cluster: Option<&str>| evaluator.process(body, cluster)),
                bus.publisher.clone(),
                Arc::clone(&metrics),
            )?;
            webhook = Some(bound);
        }
        if !config.files.is_empty() {
            readiness.expect("files");
        }
        let status = match config.status.enabled {
            true => Some(StatusServer::bind(
                &config.status,
                Arc::clone(&metrics),
                readiness.clone(),
            )?),
            false => None,
        };
        Ok(App {
            config,
            metrics,
            readiness,
            outputs,
            pipeline,
            rules,
            webhook,
            status,
            watcher,
            changes,
            certificate,
            summary,
            syscall,
            sessions,
            bus,
            probe: probe_summary,
            sources,
        })
    }

    pub fn rules_summary(&self) -> &RulesSummary {
        &self.summary
    }

    /// The probe, or why there is none.
    pub fn probe_summary(&self) -> &ProbeSummary {
        &self.probe
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The development certificate, when that is what the webhook shows.
    pub fn development_certificate(&self) -> Option<&DevCertificate> {
        self.certificate.as_ref()
    }

    pub fn webhook_address(&self) -> Option<std::net::SocketAddr> {
        self.webhook.as_ref().map(Webhook::local_addr)
    }

    pub fn status_address(&self) -> Option<std::net::SocketAddr> {
        self.status.as_ref().map(StatusServer::local_addr)
    }

    /// Runs until `shutdown` resolves or every source has ended; then drains: no more is accepted, what was accepted is
    /// evaluated, and the outputs deliver what they hold. `hangup` yields at every SIGHUP.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()>,
        mut hangup: impl AsyncFnMut(),
    ) -> Result<(), StartError> {
        let App {
            config,
            metrics,
            readiness,
            outputs,
            pipeline,
            rules,
            webhook,
            status,
            watcher,
            mut changes,
            syscall,
            sessions,
            bus,
            sources,
            ..
        } = self;
        let reloader = Arc::new(Reloader {
            config: config.clone(),
            sources,
            rules,
            webhook: webhook.as_ref().map(Webhook::reload_handle),
            metrics: Arc::clone(&metrics),
        });
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = watch::channel(false);
        let until = |mut told: watch::Receiver<bool>| async move {
            // An error means that the sender is gone, which is a stop as well.
            let _ = told.wait_for(|stop| *stop).await;
        };
        let grace = config.shutdown.grace;
        // Until the very end: probes must see why no new events should come, and scrapes what the drain delivers.
        let status = status.map(|server| tokio::spawn(server.run(until(ended))));
        let webhook = webhook.map(|server| {
            readiness.set("webhook", Ok(()));
            tokio::spawn(server.run(until(stopped.clone()), grace))
        });
        let sessions = sessions.map(|server| tokio::spawn(server.run(until(stopped.clone()))));
        let watched = tokio::spawn(bus.clone().watch(readiness.clone()));
        let only_files = webhook.is_none() && syscall.is_none();
        let syscall = match syscall {
            Some(reader) => {
                let service = Service::start(reader).map_err(StartError::Thread)?;
                readiness.set("syscall", Ok(()));
                Some(service)
            }
            None => None,
        };
        let mut file_sources = FileSources::start(&config.files, &config.cluster, &pipeline, &metrics);
        if !config.files.is_empty() {
            readiness.set("files", Ok(()));
        }
        let shutdown = std::pin::pin!(shutdown);
        let reloads = async {
            loop {
                tokio::select! {
                    () = hangup() => {
                        tracing::info!("reloading on SIGHUP");
                        outputs.reopen();
                        pipeline.reopen();
                        watcher.trigger_all();
                    }
                    Some(group) = changes.recv() => {
                        let reloader = Arc::clone(&reloader);
                        // Off the runtime, because rules take a while; one at a time. A panic has been printed.
                        let _ = tokio::task::spawn_blocking(move || reloader.reload(group)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = shutdown => tracing::info!("stopping: finishing what was accepted"),
            () = file_sources.ended(), if only_files => tracing::info!("every source has ended"),
            () = reloads => {}
        }
        let stopping = Instant::now();
        readiness.set("shutdown", Err("stopping".to_owned()));
        // The webhook and the files first: what they accepted must reach the outputs before those are drained.
        let _ = stop.send(true);
        if let Some(webhook) = webhook {
            match webhook.await {
                Ok(Ok(drained)) if drained.cut > 0 => {
                    tracing::warn!(
                        connections = drained.cut,
                        "connections were still busy when the grace period ended"
                    );
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::error!(%error, "the webhook failed"),
                Err(error) => tracing::error!(%error, "the webhook ended early"),
            }
        }
        file_sources.stop().await;
        watched.abort();
        let unsent = bus.drain(grace / 3).await;
        if unsent > 0 {
            metrics.dropped("bus", "shutdown", unsent as u64);
            tracing::error!(unsent, "messages for the nodes could not be sent before the end");
        }
        if let Some(service) = syscall {
            // A panic of the thread has been logged.
            let _ = tokio::task::spawn_blocking(move || service.stop()).await;
        }
        // The grace period is one for both; a third of it is the outputs' in any case.
        let left = grace.saturating_sub(stopping.elapsed()).max(grace / 3);
        let undelivered = outputs.drain(left).await;
        if undelivered > 0 {
            metrics.dropped("outputs", "shutdown", undelivered);
            tracing::error!(undelivered, "alerts could not be delivered before the end");
        }
        if let Some(sessions) = sessions {
            // A panic has been printed.
            let _ = sessions.await;
        }
        drop(watcher);
        let _ = end.send(true);
        if let Some(status) = status {
            let _ = status.await;
        }
        Ok(())
    }
}

/// Begins a recording. It holds command lines, and what people asked for: nobody else may read it.
fn record(reader: &mut Reader<Delivery>, path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    reader.record(Box::new(std::io::BufWriter::new(file)))
}

/// The files that are loaded again when they change.
fn watched(config: &Config) -> Result<Vec<Group>, TlsError> {
    let mut groups = vec![Group {
        name: "rules",
        paths: config.rules.files.clone(),
    }];
    if config.webhook.enabled {
        groups.push(Group {
            name: "tls",
            paths: TlsFiles::from_config(&config.webhook.tls)?.paths(),
        });
        groups.push(Group {
            name: "tokens",
            paths: config.webhook.token_file.iter().cloned().collect(),
        });
    }
    Ok(groups)
}

/// Puts what changed in the place of what runs.
struct Reloader {
    config: Config,
    sources: Vec<Source>,
    rules: Arc<ArcSwap<RuleSet>>,
    webhook: Option<Reload>,
    metrics: Arc<Metrics>,
}

impl Reloader {
    fn reload(&self, group: &str) {
        match (group, &self.webhook) {
            ("rules", _) => self.rules(),
            ("tls", Some(webhook)) => webhook.reload_tls(),
            ("tokens", Some(webhook)) => webhook.reload_tokens(),
            _ => {}
        }
    }

    fn rules(&self) {
        let loaded = load_rules(&self.config, &self.sources, |diagnostic, loaded| {
            if diagnostic.is_error() {
                tracing::error!("{}", diagnostic.render(&loaded.sources).trim_end());
            }
        });
        match loaded {
            Ok((rules, summary)) => {
                self.rules.store(Arc::new(rules));
                self.metrics.reloaded("rules");
                tracing::info!(rules = summary.rules, warnings = summary.warnings, "rules reloaded");
            }
            Err(error) => {
                self.metrics.reload_failed("rules");
                tracing::error!(%error, "rules not reloaded; the earlier ones stay");
            }
        }
    }
}

/// The threads that read audit logs.
struct FileSources {
    stop: StopFlag,
    threads: Vec<tokio::task::JoinHandle<()>>,
}

impl FileSources {
    fn start(
        configs: &[FileSourceConfig],
        cluster: &Option<String>,
        pipeline: &Arc<AuditPipeline>,
        metrics: &Arc<Metrics>,
    ) -> FileSources {
        let stop = StopFlag::default();
        let counters = Arc::new(Counters::default());
        let threads = configs
            .iter()
            .map(|config| {
                let config = FileSourceConfig {
                    cluster: config.cluster.clone().or_else(|| cluster.clone()),
                    ..config.clone()
                };
                let (stop, counters) = (stop.clone(), Arc::clone(&counters));
                let pipeline = Arc::clone(pipeline);
                tokio::task::spawn_blocking(move || {
                    let cluster = config.cluster.clone();
                    if let Err(error) = files::run(&config, &stop, &counters, |chunk| {
                        pipeline.chunk(chunk, cluster.as_deref())
                    }) {
                        tracing::error!(%error, "a file source ended");
                    }
                })
            })
            .collect();
        if !configs.is_empty() {
            metrics.on_scrape(move |metrics| {
                use std::sync::atomic::Ordering::Relaxed;
                for (reason, value) in [
                    ("oversized", counters.oversized_documents.load(Relaxed)),
                    ("abandoned_bytes", counters.abandoned_bytes.load(Relaxed)),
                    ("read_error", counters.read_errors.load(Relaxed)),
                ] {
                    if value > 0 {
                        copy_counter(
                            &metrics
                                .drops
                                .get_or_create(&crate::metrics::DropLabels { stage: "files", reason }),
                            value,
                        );
                    }
                }
            });
        }
        FileSources { stop, threads }
    }

    async fn ended(&mut self) {
        for thread in &mut self.threads {
            let _ = thread.await;
        }
        self.threads.clear();
    }

    async fn stop(mut self) {
        self.stop.set();
        self.ended().await;
    }
}

fn export_outputs(metrics: &Metrics, outputs: &Outputs, counters: &Arc<OutputCounters>) {
    let (outputs, counters) = (outputs.clone(), Arc::clone(counters));
    metrics.on_scrape(move |metrics| {
        for status in outputs.status() {
            let labels = OutputLabels {
                output: Arc::clone(&status.name).into(),
            };
            metrics
                .output_queue_depth
                .get_or_create(&labels)
                .set(status.queued as i64);
            metrics
                .output_queue_capacity
                .get_or_create(&labels)
                .set(status.capacity as i64);
        }
        for counts in counters.all() {
            let labels = OutputLabels {
                output: Arc::clone(&counts.name).into(),
            };
            let copy = |counter: &PrometheusCounter, value: u64| copy_counter(counter, value);
            copy(&metrics.output_delivered.get_or_create(&labels), counts.delivered.get());
            copy(
                &metrics.output_dropped.get_or_create(&labels),
                counts.dropped_full.get(),
            );
            copy(
                &metrics.output_failed.get_or_create(&labels),
                counts.failed.get() + counts.undelivered.get(),
            );
        }
    });
}

/// Where alerts go, in a few words.
pub fn describe_outputs(outputs: &[OutputConfig]) -> String {
    use crate::config::{AlertFormat, OutputKind};
    let format = |f: AlertFormat| if f == AlertFormat::Json { "JSON" } else { "text" };
    if outputs.is_empty() {
        return "stdout (text)".to_owned();
    }
    let each = outputs.iter().map(|o| match &o.kind {
        OutputKind::Stdout(c) => format!("stdout ({})", format(c.format)),
        OutputKind::File(c) => format!("file {} ({})", c.path.display(), format(c.format)),
        OutputKind::Syslog(c) => format!("syslog {}", c.address),
        OutputKind::Program(_) => "program".to_owned(),
        OutputKind::Http(_) => "http".to_owned(),
    });
    each.collect::<Vec<_>>().join(", ")
}
