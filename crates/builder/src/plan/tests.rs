use super::*;

fn dockerfile(text: &str) -> Dockerfile {
    lbuild_parser::parse(text.as_bytes()).unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
}

/// Plans with the named context `ctx`, and `TAG` set to `1`.
fn plan_for(text: &str, target: Option<&str>) -> Result<Plan, PlanError> {
    let mut globals = Environment::new();
    globals.set("TAG", "1");
    let named = BTreeSet::from(["ctx".to_owned()]);
    Plan::new(&dockerfile(text), &PlanInput { globals: &globals, named: &named, target })
}

fn plan(text: &str) -> Plan {
    plan_for(text, None).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

/// What the Dockerfile is refused for.
fn refusals(text: &str) -> Vec<String> {
    match plan_for(text, None) {
        Err(PlanError::Dockerfile(problems)) => problems.into_iter().map(|problem| problem.message).collect(),
        other => panic!("{text}: {other:?}"),
    }
}

fn image(name: &str) -> Origin {
    Origin::Image(name.to_owned())
}

#[test]
fn a_stage_begins_with_an_earlier_stage_before_anything_else() {
    for (from, expected) in [
        ("scratch", Base::Scratch),
        ("first", Base::Stage(0)),
        ("FIRST", Base::Stage(0)),
        ("later", Base::Image("later".into())),
        ("ctx", Base::Named("ctx".into())),
        ("debian:$TAG", Base::Image("debian:1".into())),
        ("0", Base::Image("0".into())),
    ] {
        let text = format!("FROM a AS first\nFROM {from} AS second\nFROM b AS later\n");
        assert_eq!(plan(&text).stages[1].base, expected, "{from}");
    }
}

#[test]
fn a_named_context_replaces_the_stage_of_its_name() {
    assert_eq!(plan("FROM a AS ctx\n").stages[0].base, Base::Named("ctx".into()));
}

#[test]
fn the_last_stage_of_a_name_counts() {
    assert_eq!(plan("FROM a AS x\nFROM b AS x\nFROM x\n").stages[2].base, Base::Stage(1));
}

#[test]
fn each_copy_and_mount_has_its_origin() {
    for (step, expected) in [
        ("COPY a /", vec![Origin::Context]),
        ("COPY --from=first a /", vec![Origin::Stage(0)]),
        ("COPY --from=0 a /", vec![Origin::Stage(0)]),
        ("COPY --from=ctx a /", vec![Origin::Named("ctx".into())]),
        ("COPY --from=debian:12 a /", vec![image("debian:12")]),
        ("COPY --from=scratch a /", vec![Origin::Empty]),
        ("ADD a /", vec![Origin::Context]),
        ("WORKDIR /a", vec![]),
        ("RUN true", vec![]),
        ("RUN --mount=target=/m true", vec![Origin::Context]),
        ("RUN --mount=type=cache,target=/m true", vec![Origin::Empty]),
        ("RUN --mount=from=first,target=/m --mount=type=tmpfs,target=/t true", {
            vec![Origin::Stage(0), Origin::Empty]
        }),
        ("RUN --mount=type=cache,from=debian,target=/m true", vec![image("debian")]),
    ] {
        let plan = plan(&format!("FROM a AS first\nFROM b\n{step}\n"));
        assert_eq!(plan.stages[1].tasks[0].origins, expected, "{step}");
    }
}

#[test]
fn only_what_the_target_needs_is_built() {
    let text = "FROM a AS a\nFROM b AS b\nFROM c AS c\nCOPY --from=a /x /\n\
                FROM b AS d\nRUN --mount=from=c,target=/m true\nFROM e AS e\n";
    for (target, expected) in
        [(None, vec![4]), (Some("a"), vec![0]), (Some("D"), vec![0, 1, 2, 3]), (Some("2"), vec![0, 2])]
    {
        let plan = plan_for(text, target).unwrap();
        assert_eq!(plan.needed().into_iter().collect::<Vec<_>>(), expected, "{target:?}");
    }
}

#[test]
fn a_target_that_no_stage_has_is_refused() {
    for target in ["nowhere", "1", "-1", ""] {
        match plan_for("FROM a AS a\n", Some(target)) {
            Err(PlanError::NoSuchTarget(name)) => assert_eq!(name, target),
            other => panic!("{target}: {other:?}"),
        }
    }
}

#[test]
fn every_independent_problem_is_told() {
    let text = "FROM $NOTHING\nCOPY --from=9 a /\nFROM --platform=a/b/c/d/e x\n";
    let refusals = refusals(text);
    assert_eq!(refusals[..2], ["the base name ($NOTHING) is blank", "there is no stage 9"]);
    assert_eq!(refusals.len(), 3, "{refusals:?}");
}

#[test]
fn stages_that_need_each_other_are_refused() {
    let text = "FROM a AS a\nCOPY --from=b x /\nFROM b AS b\nCOPY --from=a x /\n";
    assert_eq!(refusals(text).len(), 1);
}

#[test]
fn uses_of_a_stage_by_itself_or_before_its_definition_are_refused_where_they_are_needed() {
    for (text, expected) in [
        ("FROM a AS a\nCOPY --from=0 x /\n", Some("stage \"a\" needs itself in the end")),
        ("FROM a\nCOPY --from=b x /\nFROM b AS b\nFROM a\n", None),
    ] {
        let found = match plan_for(text, None) {
            Err(PlanError::Dockerfile(problems)) => Some(problems[0].message.clone()),
            Ok(plan) => plan.refuse_forward_uses().err().map(|error| format!("{error:?}")),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(found.as_deref(), expected, "{text}");
    }
    let plan = plan_for("FROM a AS a\nCOPY --from=b x /\nFROM b AS b\n", Some("a")).unwrap();
    let Err(PlanError::Dockerfile(problems)) = plan.refuse_forward_uses() else { panic!("allowed") };
    assert_eq!(problems[0].message, "stage \"b\" is used before it is defined");
}

#[test]
fn triggers_come_before_the_stages_own_steps() {
    let text = "FROM a AS a\nFROM b\nRUN own\n";
    let trigger = lbuild_parser::parse_onbuild("COPY --from=a x /", '\\').unwrap();
    let mut plan = plan(text);
    plan.add_triggers(1, vec![trigger], &BTreeSet::new()).unwrap();
    let tasks = &plan.stages[1].tasks;
    assert_eq!(tasks.iter().map(|task| task.trigger).collect::<Vec<_>>(), [true, false]);
    assert_eq!(tasks[0].origins, [Origin::Stage(0)]);
    assert_eq!(plan.needed().len(), 2, "the trigger's stage is needed too");
}

#[test]
fn stages_are_found_by_name_in_time_that_grows_with_their_number() {
    let text: String =
        (0..200_000).map(|stage| format!("FROM s{} AS s{stage}\n", stage - 1)).collect::<String>();
    let dockerfile = dockerfile(&text);
    let named = BTreeSet::new();
    let globals = Environment::new();
    let start = std::time::Instant::now();
    let plan = Plan::new(&dockerfile, &PlanInput { globals: &globals, named: &named, target: None }).unwrap();
    assert_eq!(plan.stages[199_999].base, Base::Stage(199_998));
    // Looking through all stages above each takes many minutes; this, some seconds of a processor of one's own.
    assert!(start.elapsed().as_secs() < 100, "{:?}", start.elapsed());
}
