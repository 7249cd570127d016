//! How many records a datagram takes, and the mtu that is shown.

use super::format::{Format, IPV4_UDP, IPV6_UDP, MAX_RECORDS, TemplateSet};
use super::settings::{Carrier, DTLS_OVERHEAD, Settings};
use crate::wire;

/// How many records of one size go into one datagram.
///
/// The kernel's formula forgets the set header and counts an IPv4 header always (if_pflow.c,
/// `pflow_setmtu`, `pflow_calc_mtu`). Where fewer records fit, so many go. One goes even if it does
/// not fit.
pub(super) fn records_that_fit(settings: &Settings, kernel: Capacity, fit: Capacity) -> usize {
    let is_ipv6 = settings.flowdst.is_some_and(|to| to.is_ipv6());
    let ip_udp = if is_ipv6 { IPV6_UDP } else { IPV4_UDP };
    let overhead = match settings.carrier {
        Carrier::Dtls => DTLS_OVERHEAD,
        _ => 0,
    };
    let mtu = usize::from(settings.mtu.saturating_sub(overhead));
    kernel
        .records(mtu, IPV4_UDP)
        .min(fit.records(mtu, ip_udp))
        .max(1)
}

/// A header and records of one size.
#[derive(Clone, Copy)]
pub(super) struct Capacity {
    pub(super) header: usize,
    pub(super) record: usize,
}

impl Capacity {
    pub(super) fn records(self, mtu: usize, ip_udp: usize) -> usize {
        (mtu.saturating_sub(self.header + ip_udp) / self.record).min(MAX_RECORDS)
    }
}

/// `if_mtu` as the kernel shows it for the `mtu` of `settings`: a whole number of records.
pub fn shown_mtu(settings: &Settings) -> usize {
    let mtu = usize::from(settings.mtu);
    let kernel = |header, record| Capacity { header, record }.records(mtu, IPV4_UDP);
    match settings.format {
        Format::NetFlow5 => {
            let (header, record) = (wire::netflow5::HEADER_LEN, wire::netflow5::RECORD_LEN);
            header + IPV4_UDP + kernel(header, record) * record
        }
        Format::NetFlow9 => mtu,
        Format::Ipfix if settings.templates == TemplateSet::Full => mtu,
        Format::Ipfix => {
            let header = wire::ipfix::HEADER_LEN;
            let sizes = settings.templates.sizes_for_mtu();
            let least = sizes.iter().map(|size| kernel(header, *size) * size).min();
            header + IPV4_UDP + least.unwrap_or(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{ipfix, netflow5};

    fn counts(templates: TemplateSet, mtu: u16) -> (usize, usize, usize) {
        let settings = Settings {
            format: Format::Ipfix,
            templates,
            mtu,
            flowdst: Some("127.0.0.1:1".parse().unwrap()),
            ..Settings::default()
        };
        let v5 = netflow5::NetFlow5::records_per_datagram(&settings);
        let [ipv4, .., ipv6] = ipfix::records_per_datagram(&settings);
        (v5, ipv4, ipv6)
    }

    #[test]
    fn records_per_datagram_and_mtu_are_the_kernels() {
        // mtu, records of v5, then of IPFIX in IPv4 and IPv6 by OpenBSD up to 7.8 and later ones.
        let table = [
            (1500, 30, (26, 18), (22, 18)),
            (1280, 25, (22, 15), (18, 15)),
            (576, 10, (9, 6), (8, 6)),
            (2048, 30, (30, 25), (30, 25)),
        ];
        for (mtu, v5, o111, o112) in table {
            assert_eq!(
                counts(TemplateSet::OpenBsd78, mtu),
                (v5, o111.0, o111.1),
                "{mtu}"
            );
            assert_eq!(
                counts(TemplateSet::OpenBsd, mtu),
                (v5, o112.0, o112.1),
                "{mtu}"
            );
        }
        let shown_mtu = |format, templates, mtu| {
            shown_mtu(&Settings {
                format,
                templates,
                mtu,
                ..Settings::default()
            })
        };
        let shown = |format, templates| {
            [1500, 1280, 576, 2048].map(|mtu| shown_mtu(format, templates, mtu))
        };
        assert_eq!(
            shown(Format::NetFlow5, TemplateSet::OpenBsd),
            [1492, 1252, 532, 1492]
        );
        assert_eq!(
            shown(Format::Ipfix, TemplateSet::OpenBsd78),
            [1448, 1214, 512, 1664]
        );
        assert_eq!(
            shown(Format::Ipfix, TemplateSet::OpenBsd),
            [1448, 1214, 512, 1994]
        );
        assert_eq!(shown_mtu(Format::NetFlow5, TemplateSet::OpenBsd, 72), 52);
    }

    #[test]
    fn freebsds_numbers_for_1500_octets() {
        let settings = Settings {
            format: Format::Ipfix,
            templates: TemplateSet::FreeBsd,
            mtu: 1500,
            flowdst: Some("127.0.0.1:1".parse().unwrap()),
            ..Settings::default()
        };
        assert_eq!(ipfix::records_per_datagram(&settings), [26, 30, 18]);
    }

    #[test]
    fn over_ipv6_nothing_is_larger_than_the_mtu_and_one_record_always_goes() {
        for templates in [
            TemplateSet::OpenBsd,
            TemplateSet::OpenBsd78,
            TemplateSet::FreeBsd,
        ] {
            for mtu in 72..=2048 {
                let settings = Settings {
                    format: Format::Ipfix,
                    templates,
                    mtu,
                    flowdst: Some("[::1]:1".parse().unwrap()),
                    ..Settings::default()
                };
                let v5 = netflow5::NetFlow5::records_per_datagram(&settings);
                assert!(v5 == 1 || 48 + 24 + v5 * 48 <= usize::from(mtu));
                let [ipv4, _, ipv6] = ipfix::records_per_datagram(&settings);
                assert!(ipv6 == 1 || 48 + 20 + ipv6 * 78 <= usize::from(mtu));
                assert!(ipv4 == 1 || 48 + 20 + ipv4 * 54 <= usize::from(mtu));
            }
        }
    }
}
