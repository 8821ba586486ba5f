//! The table of `ka.*`: name, where the value is, what it means.

use super::Computed::{self, *};
use super::computed::{Containers, Subject};
use crate::fields::{Field, Origin, Type};

fn path(name: &'static str, path: &'static str, doc: &'static str) -> Field {
    Field::string(name, Origin::JsonPath(path.into()), doc)
}

fn pod(name: &'static str, path: &'static str, doc: &'static str) -> Field {
    Field::string(name, Origin::PodPath(path.into()), doc)
}

fn computed(name: &'static str, what: Computed, doc: &'static str) -> Field {
    Field::string(name, Origin::Audit(what), doc)
}

/// All rows of the class.
///
/// Fields named `ka.req.pod.*`, `ka.req.container.*` and `ka.req.volume.*` read `requestObject`; when the verb is
/// `patch` and `responseObject` is a Pod, they read that instead, because the request then holds only a patch.
pub fn table() -> Vec<Field> {
    let mut rows = vec![
        path(
            "ka.auditid",
            "$.auditID",
            "id of the request; chosen by the client, so no identity",
        ),
        path(
            "ka.stage",
            "$.stage",
            "RequestReceived, ResponseStarted, ResponseComplete or Panic",
        ),
        path(
            "ka.auth.decision",
            "$.annotations['authorization.k8s.io/decision']",
            "the authorizer's verdict: allow or forbid",
        ),
        path(
            "ka.auth.reason",
            "$.annotations['authorization.k8s.io/reason']",
            "the authorizer's reason",
        ),
        path(
            "ka.auth.openshift.decision",
            "$.annotations['authentication.openshift.io/decision']",
            "OpenShift's authentication verdict",
        ),
        path(
            "ka.auth.openshift.username",
            "$.annotations['authentication.openshift.io/username']",
            "the user OpenShift tried to authenticate",
        ),
        path(
            "ka.validations.admission.policy.failure",
            "$.annotations['validation.policy.admission.k8s.io/validation_failure']",
            "failures of ValidatingAdmissionPolicies, as JSON text",
        ),
        path(
            "ka.security.pod.violations",
            "$.annotations['pod-security.kubernetes.io/audit-violations']",
            "violations that Pod Security admission noted",
        ),
        path("ka.user.name", "$.user.username", "the user who made the request"),
        path("ka.user.groups", "$.user.groups[*]", "groups of that user").list(),
        path(
            "ka.impuser.name",
            "$.impersonatedUser.username",
            "the user that was impersonated; absent at stage RequestReceived",
        ),
        path("ka.verb", "$.verb", "the API verb"),
        path("ka.uri", "$.requestURI", "the request URI with its query"),
        computed(
            "ka.uri.param",
            UriParam,
            "first value of a query parameter, decoded; no other parameter can hide it",
        )
        .keyed(),
        path("ka.target.name", "$.objectRef.name", "name of the target object"),
        path(
            "ka.target.namespace",
            "$.objectRef.namespace",
            "namespace of the target object",
        ),
        path(
            "ka.target.resource",
            "$.objectRef.resource",
            "resource of the target object, in the plural",
        ),
        path(
            "ka.target.subresource",
            "$.objectRef.subresource",
            "subresource; absent for the object itself",
        ),
        computed(
            "ka.target.pod.name",
            TargetPodName,
            "name in the response object, for pods without a subresource",
        ),
        path(
            "ka.req.binding.subjects",
            "$.requestObject.subjects[*]",
            "subjects of a (cluster) role binding, each as JSON text",
        )
        .list(),
        computed(
            "ka.req.binding.subjects.user_names",
            SubjectNames(Subject::User),
            "names of its User subjects",
        )
        .list(),
        computed(
            "ka.req.binding.subjects.serviceaccount_names",
            SubjectNames(Subject::ServiceAccount),
            "names of its ServiceAccount subjects",
        )
        .list(),
        computed(
            "ka.req.binding.subjects.serviceaccount_ns_names",
            SubjectNames(Subject::NamespacedServiceAccount),
            "namespace:name of its ServiceAccount subjects",
        )
        .list(),
        computed(
            "ka.req.binding.subjects.group_names",
            SubjectNames(Subject::Group),
            "names of its Group subjects",
        )
        .list(),
        path(
            "ka.req.binding.role",
            "$.requestObject.roleRef.name",
            "name of the role that is bound",
        ),
        computed("ka.req.binding.subject.has_name", Always, "deprecated: always true").keyed(),
        path(
            "ka.req.configmap.name",
            "$.objectRef.name",
            "name of the ConfigMap (of any target)",
        ),
        path(
            "ka.req.configmap.obj",
            "$.requestObject.data",
            "data of the ConfigMap in the request, as JSON text",
        ),
        pod(
            "ka.req.container.image",
            "$.requestObject.spec.containers[0].image",
            "deprecated: image of the first container",
        ),
        computed(
            "ka.req.container.image.repository",
            FirstRepository,
            "deprecated: image repository of the first container",
        ),
        computed(
            "ka.req.container.privileged",
            AnyPrivileged,
            "deprecated: true when any container is privileged, else false",
        ),
        pod(
            "ka.req.pod.host_ipc",
            "$.requestObject.spec.hostIPC",
            "the pod's hostIPC",
        ),
        pod(
            "ka.req.pod.host_network",
            "$.requestObject.spec.hostNetwork",
            "the pod's hostNetwork",
        ),
        pod(
            "ka.req.container.host_network",
            "$.requestObject.spec.hostNetwork",
            "deprecated: the pod's hostNetwork",
        ),
        pod(
            "ka.req.pod.host_pid",
            "$.requestObject.spec.hostPID",
            "the pod's hostPID",
        ),
        pod(
            "ka.req.pod.run_as_user",
            "$.requestObject.spec.securityContext.runAsUser",
            "the pod's runAsUser",
        ),
        pod(
            "ka.req.pod.run_as_group",
            "$.requestObject.spec.securityContext.runAsGroup",
            "the pod's runAsGroup",
        ),
        pod(
            "ka.req.pod.fs_group",
            "$.requestObject.spec.securityContext.fsGroup",
            "the pod's fsGroup",
        ),
        pod(
            "ka.req.pod.supplemental_groups",
            "$.requestObject.spec.securityContext.supplementalGroups[*]",
            "the pod's supplementalGroups",
        )
        .list(),
        path(
            "ka.req.role.rules",
            "$.requestObject.rules[*]",
            "rules of a role, each as JSON text",
        )
        .list(),
        path(
            "ka.req.role.rules.apiGroups",
            "$.requestObject.rules[*].apiGroups[*]",
            "API groups of a role's rules",
        )
        .indexed(),
        path(
            "ka.req.role.rules.nonResourceURLs",
            "$.requestObject.rules[*].nonResourceURLs[*]",
            "non-resource URLs of a role's rules",
        )
        .indexed(),
        path(
            "ka.req.role.rules.verbs",
            "$.requestObject.rules[*].verbs[*]",
            "verbs of a role's rules",
        )
        .indexed(),
        path(
            "ka.req.role.rules.resources",
            "$.requestObject.rules[*].resources[*]",
            "resources of a role's rules",
        )
        .indexed(),
        path("ka.req.service.type", "$.requestObject.spec.type", "type of a service"),
        path(
            "ka.req.service.ports",
            "$.requestObject.spec.ports",
            "ports of a service: one element, all of them as JSON text",
        )
        .indexed(),
        pod(
            "ka.req.pod.volumes.hostpath",
            "$.requestObject.spec.volumes[*].hostPath.path",
            "paths of hostPath volumes",
        )
        .indexed(),
        computed(
            "ka.req.volume.hostpath",
            HasHostPath,
            "deprecated: true when that host path (or, with a trailing *, one beginning so) is mounted, else false",
        )
        .keyed(),
        pod(
            "ka.req.pod.volumes.flexvolume_driver",
            "$.requestObject.spec.volumes[*].flexVolume.driver",
            "drivers of flexVolume volumes",
        )
        .indexed(),
        computed(
            "ka.req.pod.volumes.volume_type",
            VolumeTypes,
            "kinds of the pod's volumes",
        )
        .indexed(),
        path(
            "ka.resp.name",
            "$.responseObject.metadata.name",
            "name in the response object",
        ),
        path("ka.response.code", "$.responseStatus.code", "HTTP status code, as text"),
        path("ka.response.reason", "$.responseStatus.reason", "reason of a failure"),
        path(
            "ka.useragent",
            "$.userAgent",
            "the client's user agent: whatever it says",
        ),
        path(
            "ka.sourceips",
            "$.sourceIPs[*]",
            "addresses of the client; only the last is the real peer",
        )
        .indexed(),
        computed(
            "ka.cluster.name",
            ClusterName,
            "cluster: annotation cluster_name, or what the URL path, client certificate or saker.yaml says",
        ),
        computed(
            "ka.exec.command",
            ExecCommand,
            "whole command line of an exec, its arguments joined by blanks",
        ),
        computed("ka.exec.argv", ExecArgv, "arguments of an exec, in order").list(),
        computed("ka.exec.container", ExecContainer, "container an exec or attach names"),
        computed(
            "ka.exec.tty",
            ExecTty,
            "true when an exec or attach asks for a terminal, else false",
        ),
        computed(
            "ka.exec.stdin",
            ExecStdin,
            "true when an exec or attach sends standard input, else false",
        ),
    ];
    for containers in Containers::ALL {
        rows.extend(container_rows(containers));
    }
    debug_assert!(rows.iter().all(|row| row.kind == Type::String));
    rows.extend(super::own::rows());
    rows
}

/// The rows that exist once for containers, initContainers and ephemeralContainers each.
fn container_rows(containers: Containers) -> Vec<Field> {
    let list = containers.name();
    let at = |name: &str, inner: &str, doc: &str| {
        Field::string(
            format!("ka.req.pod.{list}.{name}"),
            Origin::PodPath(format!("$.requestObject.spec.{list}[*].{inner}").into()),
            format!("{doc} of {list}"),
        )
        .indexed()
    };
    let made = |name: &str, what: Computed, doc: &str| {
        Field::string(
            format!("ka.req.pod.{list}.{name}"),
            Origin::Audit(what),
            format!("{doc} of {list}"),
        )
        .indexed()
    };
    vec![
        at("name", "name", "names"),
        at("image", "image", "images"),
        made(
            "image.repository",
            Repositories(containers),
            "image repositories, with the registry's port and without tag or digest,",
        ),
        made("command", Commands(containers), "commands, each joined by blanks,"),
        made("args", Args(containers), "arguments, each joined by blanks,"),
        at(
            "privileged",
            "securityContext.privileged",
            "privileged flags, where set,",
        ),
        at(
            "allow_privilege_escalation",
            "securityContext.allowPrivilegeEscalation",
            "allowPrivilegeEscalation flags, where set,",
        ),
        at(
            "read_only_fs",
            "securityContext.readOnlyRootFilesystem",
            "readOnlyRootFilesystem flags, where set,",
        ),
        at("run_as_user", "securityContext.runAsUser", "runAsUser, where set,"),
        at("run_as_group", "securityContext.runAsGroup", "runAsGroup, where set,"),
        at("proc_mount", "securityContext.procMount", "procMount, where set,"),
        made(
            "eff_run_as_user",
            EffectiveUser(containers),
            "runAsUser in effect (container, else pod, else 0)",
        ),
        made(
            "eff_run_as_group",
            EffectiveGroup(containers),
            "runAsGroup in effect (container, else pod, else 0)",
        ),
        at(
            "add_capabilities",
            "securityContext.capabilities.add[*]",
            "added capabilities, one an element,",
        ),
        made(
            "host_port",
            HostPorts(containers),
            "host ports (the container port where no host port is set)",
        ),
    ]
}
