//! What v2 to v4 tell on the wire and on pfsync0.

use super::*;

/// Dialects whose INS has no counters.
const FLAT: [D; 3] = [D::V2, D::V3, D::V4];

#[test]
fn what_v2_to_v4_tell_on_the_wire_is_estimated_as_the_same_is_of_v6() {
    let told = |d: D| {
        let mut run = Run::new();
        let mut st = connection(1).count([0, 0], [0, 0]);
        run.send(0, A, d, &[M::Ins(st)]);
        for s in 1..=20 {
            st = up(down(st, 100_000), 300);
            run.send(s * 1000, A, d, &[M::upd_c(&st)]);
        }
        run.send(20_000 + 86_400_000, A, d, &[M::del_c(&st)]);
        ended(&mut run)
    };
    let (flow, quality) = told(D::Obsd74);
    assert_eq!(quality, "estimated");
    for d in FLAT {
        assert_eq!(told(d), (flow.clone(), quality.clone()), "{d:?}");
    }
    let octets = flow.octets[1];
    assert!((2_000_000..2_100_000).contains(&octets), "{octets}");
}

#[test]
fn a_full_update_that_v2_to_v4_were_asked_for_is_exact_and_an_estimate_goes_on_from_it() {
    for d in FLAT {
        for goes_on in [false, true] {
            let mut run = Run::new();
            let mut st = connection(1).count([0, 0], [0, 0]);
            run.send(0, A, d, &[M::Ins(st)]);
            st = down(st, 1_000_000);
            run.send(1000, A, d, &[M::upd_c(&st)]);
            let counted = st.count([343, 685], [13_720, 1_027_400]);
            run.send(2000, A, d, &[M::Upd(counted.aged(2))]);
            if goes_on {
                st = down(st, 14_600);
                run.send(3000, A, d, &[M::upd_c(&st)]);
            }
            let last = if goes_on { 3000 } else { 1000 };
            run.send(last + 86_400_000, A, d, &[M::del_c(&st)]);
            let (flow, quality) = ended(&mut run);
            if goes_on {
                assert_eq!(flow.packets, [348, 695], "{d:?}");
                assert_eq!(flow.octets, [13_920, 1_042_400], "{d:?}");
                assert_eq!(quality, "estimated", "{d:?}");
            } else {
                assert_eq!(
                    (flow.packets, flow.octets),
                    (counted.packets, counted.octets)
                );
                assert_eq!(quality, "exact", "{d:?}");
            }
        }
    }
}

#[test]
fn what_pfsync0_and_the_wire_both_tell_of_v2_to_v4_counts_once() {
    for d in FLAT {
        let settings = Settings {
            local_addresses: vec![[10, 0, 0, 1].into()],
            ..settings()
        };
        let mut run = Run::with(settings, Config::default());
        let mut st = connection(1).count([0, 0], [0, 0]);
        for from in [PFSYNC0, A] {
            run.send(0, from, d, &[M::Ins(st)]);
        }
        for n in 1..=20 {
            st = down(st, 14_600).count([5 * n, 10 * n], [200 * n, 15_000 * n]);
            let ms = 1000 * i64::try_from(n).unwrap();
            run.send(ms, PFSYNC0, d, &[M::Upd(st.aged(n as u32))]);
            run.send(ms, A, d, &[M::upd_c(&st)]);
        }
        run.send(60_000, PFSYNC0, d, &[M::Del(st.aged(60))]);
        let (flow, quality) = ended(&mut run);
        assert_eq!(
            (flow.packets, flow.octets),
            (st.packets, st.octets),
            "{d:?}"
        );
        assert_eq!(quality, "exact", "{d:?}");
    }
}
