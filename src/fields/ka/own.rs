//! The rows of `ka.*` that Falco does not have, beside those of `ka.exec.*`.

use super::Computed::{self, Binding, Certificate, Credentials, Pod, Request, Role, Service};
use super::effective::{BindingFact, PodFact, RoleFact, ServiceFact};
use super::request::Fact;
use super::{certificate, credentials};
use crate::credentials::inspection::Part;
use crate::fields::{Field, Origin, Type};

fn path(name: &'static str, path: &'static str, doc: &'static str) -> Field {
    Field::string(name, Origin::JsonPath(path.into()), doc)
}

fn computed(name: &'static str, what: Computed, doc: &'static str) -> Field {
    Field::string(name, Origin::Audit(what), doc)
}

/// The rows.
///
/// `ka.pod.*`, `ka.role.*`, `ka.binding.*` and `ka.service.*` read the object as the request leaves it: the request's
/// of a create or update, the response's of a patch that touches that part of the object (or the patch itself when it
/// was refused). `ka.pod.*` covers containers, initContainers and ephemeralContainers of a Pod, of the pod template of
/// any workload, and of each item of a list; of a request to add debug containers only those.
pub fn rows() -> Vec<Field> {
    vec![
        path(
            "ka.impuser.groups",
            "$.impersonatedUser.groups[*]",
            "groups of the user that was impersonated",
        )
        .list(),
        path(
            "ka.truncated",
            "$.annotations['audit.k8s.io/truncated']",
            "true when the API server cut request and response object off because the event was too large",
        ),
        computed(
            "ka.sourceips.peer",
            Request(Fact::Peer),
            "address of the real peer: the last of ka.sourceips; those before it are what the client says",
        ),
        computed(
            "ka.uri.path",
            Request(Fact::UriPath),
            "the path of the request URI, decoded, without the query",
        ),
        computed(
            "ka.object.name",
            Request(Fact::ObjectName),
            "name of the target; where the API server made it up, from the response",
        ),
        computed(
            "ka.dry_run",
            Request(Fact::DryRun),
            "true when the request asked for nothing to be stored (dryRun=All), else false",
        ),
        computed(
            "ka.admission.failed_open",
            Request(Fact::FailedOpen),
            "admission webhooks that did not answer in time and were passed over (failurePolicy Ignore)",
        )
        .list(),
        computed(
            "ka.req.configmap.credentials",
            Credentials(Part::ConfigMap, credentials::Fact::Kinds),
            "kinds of credentials in a ConfigMap that is written, each once; not_inspectable where the audit log does not show it",
        )
        .list(),
        computed(
            "ka.req.configmap.keys",
            Credentials(Part::ConfigMap, credentials::Fact::Keys),
            "keys of data and binaryData that hold them",
        )
        .list(),
        computed(
            "ka.req.configmap.count",
            Credentials(Part::ConfigMap, credentials::Fact::Count),
            "how many there are",
        )
        .of(Type::Uint),
        computed(
            "ka.req.configmap.max_confidence",
            Credentials(Part::ConfigMap, credentials::Fact::MaxConfidence),
            "how sure the surest is: low, medium, high",
        ),
        computed(
            "ka.req.configmap.findings",
            Credentials(Part::ConfigMap, credentials::Fact::Findings),
            "each with its key, line, kind, confidence and an excerpt in which every secret is masked",
        )
        .list(),
        computed(
            "ka.pod.credentials",
            Credentials(Part::Pod, credentials::Fact::Kinds),
            "kinds of credentials in literal environment values and command lines of pods and pod templates in the request",
        )
        .list(),
        computed(
            "ka.pod.credentials.keys",
            Credentials(Part::Pod, credentials::Fact::Keys),
            "variables, and containers whose arguments hold them",
        )
        .list(),
        computed(
            "ka.pod.credentials.max_confidence",
            Credentials(Part::Pod, credentials::Fact::MaxConfidence),
            "how sure the surest is: low, medium, high",
        ),
        computed(
            "ka.pod.credentials.findings",
            Credentials(Part::Pod, credentials::Fact::Findings),
            "each with its place, kind, confidence and a masked excerpt",
        )
        .list(),
        computed(
            "ka.annotations.credentials",
            Credentials(Part::Annotations, credentials::Fact::Kinds),
            "kinds of credentials in annotations of the object in the request, and of its pod template",
        )
        .list(),
        computed(
            "ka.annotations.credentials.keys",
            Credentials(Part::Annotations, credentials::Fact::Keys),
            "annotations that hold them",
        )
        .list(),
        computed(
            "ka.annotations.credentials.max_confidence",
            Credentials(Part::Annotations, credentials::Fact::MaxConfidence),
            "how sure the surest is: low, medium, high",
        ),
        computed(
            "ka.annotations.credentials.findings",
            Credentials(Part::Annotations, credentials::Fact::Findings),
            "each with its annotation, kind, confidence and a masked excerpt",
        )
        .list(),
        computed(
            "ka.pod.images",
            Pod(PodFact::Images),
            "images of all containers, of every kind and place",
        )
        .list(),
        computed(
            "ka.pod.repositories",
            Pod(PodFact::Repositories),
            "their repositories, with the registry's port and without tag or digest",
        )
        .list(),
        computed(
            "ka.pod.privileged",
            Pod(PodFact::Privileged),
            "for each container true when it is privileged (on Windows: a host process), else false",
        )
        .list(),
        computed(
            "ka.pod.capabilities",
            Pod(PodFact::Capabilities),
            "capabilities that containers add, in capitals and without CAP_",
        )
        .list(),
        computed(
            "ka.pod.hostpaths",
            Pod(PodFact::HostPaths),
            "paths of the node that are mounted, without empty, `.` and `..` parts; also of a PersistentVolume",
        )
        .list(),
        computed(
            "ka.pod.hostpaths.within",
            Pod(PodFact::HostPathsWithin),
            "the same with every directory above each, but `/` only where it is mounted itself",
        )
        .list(),
        computed(
            "ka.pod.host_namespaces",
            Pod(PodFact::HostNamespaces),
            "namespaces of the node that the pod shares: network, pid, ipc",
        )
        .list(),
        computed(
            "ka.pod.seccomp",
            Pod(PodFact::Seccomp),
            "seccomp profile types in effect, where container or pod set one",
        )
        .list(),
        computed(
            "ka.pod.apparmor",
            Pod(PodFact::AppArmor),
            "AppArmor profile types in effect, where set; also by annotation",
        )
        .list(),
        computed("ka.pod.proc_mount", Pod(PodFact::ProcMount), "procMount, where set").list(),
        computed(
            "ka.pod.node_names",
            Pod(PodFact::NodeNames),
            "nodes that pods name themselves, past the scheduler",
        )
        .list(),
        computed(
            "ka.pod.tolerations",
            Pod(PodFact::Tolerations),
            "keys of the taints that pods tolerate; `*` for a toleration of all",
        )
        .list(),
        computed(
            "ka.pod.service_accounts",
            Pod(PodFact::ServiceAccounts),
            "service accounts that pods name",
        )
        .list(),
        computed(
            "ka.pod.commands",
            Pod(PodFact::Commands),
            "command and arguments of each container, one line a container",
        ),
        computed("ka.role.verbs", Role(RoleFact::Verbs), "verbs of a role's rules").list(),
        computed(
            "ka.role.resources",
            Role(RoleFact::Resources),
            "resources of a role's rules",
        )
        .list(),
        computed(
            "ka.role.urls",
            Role(RoleFact::Urls),
            "non-resource URLs of a role's rules",
        )
        .list(),
        computed(
            "ka.role.allows",
            Role(RoleFact::Allows),
            "true when one rule of the role grants VERB:RESOURCE, e.g. ka.role.allows[create:pods/exec], else false",
        )
        .keyed(),
        computed(
            "ka.binding.role",
            Binding(BindingFact::Role),
            "name of the role that a binding grants",
        ),
        computed(
            "ka.binding.subjects",
            Binding(BindingFact::Subjects),
            "whom it grants the role: User:NAME, Group:NAME, ServiceAccount:NAMESPACE/NAME",
        )
        .list(),
        computed("ka.service.type", Service(ServiceFact::Type), "type of a service"),
        computed(
            "ka.service.external_ips",
            Service(ServiceFact::ExternalIps),
            "addresses that a service claims beside its own",
        )
        .list(),
        computed(
            "ka.csr.user",
            Certificate(certificate::Fact::User),
            "user that a certificate signing request asks to be",
        ),
        computed(
            "ka.csr.groups",
            Certificate(certificate::Fact::Groups),
            "groups that it asks to be in",
        )
        .list(),
        path(
            "ka.csr.signer",
            "$.requestObject.spec.signerName",
            "signer that it is meant for",
        ),
        path(
            "ka.review.user",
            "$.requestObject.spec.user",
            "user that a SubjectAccessReview asks about",
        ),
        path(
            "ka.review.groups",
            "$.requestObject.spec.groups[*]",
            "groups of that user",
        )
        .list(),
        path(
            "ka.review.verb",
            "$.requestObject.spec.resourceAttributes.verb",
            "verb that it asks about",
        ),
        path(
            "ka.review.resource",
            "$.requestObject.spec.resourceAttributes.resource",
            "resource that it asks about",
        ),
        path(
            "ka.review.subresource",
            "$.requestObject.spec.resourceAttributes.subresource",
            "subresource that it asks about",
        ),
        path(
            "ka.review.name",
            "$.requestObject.spec.resourceAttributes.name",
            "name of the object that it asks about",
        ),
        path(
            "ka.review.allowed",
            "$.responseObject.status.allowed",
            "the answer: true or false",
        ),
    ]
}
