use super::*;

#[test]
fn a_value_that_would_end_its_label_is_escaped() {
    let mut family = gauge("x", "of something", "");
    family.add(vec![("a", "q\"b\\c\nd".to_owned())], "1".to_owned());
    let mut out = Vec::new();
    family.write(Exposition::Prometheus, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.ends_with("\npflow_x{a=\"q\\\"b\\\\c\\nd\"} 1\n"),
        "{text}"
    );
}

#[test]
fn microseconds_are_told_in_seconds() {
    let counter = Counter::gauge(("longest_step", "", 1_234_567));
    assert_eq!(value(&counter), "1.234567");
    assert_eq!(
        family("control", &counter).name,
        "pflow_control_longest_step_seconds"
    );
}
