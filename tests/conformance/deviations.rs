[
    Deviation {
        case: "exec_semicolon_query",
        reason: "a `;` in a query hides no parameter",
        ours: &["ka.uri.param[command]=a;b"],
        alerts: [1, 1],
    },
    Deviation {
        case: "pod_privileged_no_image_first",
        reason: "a container without an image hides no other container",
        ours: &["ka.req.pod.containers.image=[\"busybox\"]"],
        alerts: [1, 1],
    },
    Deviation {
        case: "array_with_bad_kind",
        reason: "one bad item fails no other item of its batch",
        ours: &["ka.user.name=alice@example.com"],
        alerts: [2, 2],
    },
    Deviation {
        case: "ka_sourceips_in",
        reason: "`ka.sourceips` has a value",
        ours: &["T"],
        alerts: [15, 0],
    },
    Deviation {
        case: "ka_eff_user",
        reason: "`eff_run_as_user` sees the container's own securityContext",
        ours: &["ka.auditid=00000064-0000-4000-8000-000000000064"],
        alerts: [1, 0],
    },
    Deviation {
        case: "ka_caps",
        reason: "`add_capabilities` holds single capabilities",
        ours: &["ka.auditid=00000064-0000-4000-8000-000000000064"],
        alerts: [1, 0],
    },
    Deviation {
        case: "out_all",
        reason: "`add_capabilities` holds single capabilities, `eff_run_as_user` sees the container",
        ours: &[
            "ka.req.pod.containers.add_capabilities=[\"SYS_ADMIN\",\"NET_RAW\",\"NET_ADMIN\"]",
            "ka.req.pod.containers.eff_run_as_user=[\"0\",\"1000\"]",
        ],
        alerts: [4, 0],
    },
]
