//! What is wrong with the machine before a run begins: what makes it impossible, and what will be
//! in its figures.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use wireloop::io::Address;

use crate::{
    measure::{
        environment::{is_here, number_in, text_in},
        results::Environment,
    },
    plan::Plan,
    units::{count, plural},
};

/// What is known of the machine and of the run.
#[derive(Clone, Debug, Default)]
struct Facts {
    connections: usize,
    connecting: usize,
    threads: usize,
    /// The workers of a server that this process has started.
    workers: Option<usize>,
    /// Whether all servers are on this machine.
    is_same_host: bool,
    processors: usize,
    quota: Option<f64>,
    governor: Option<String>,
    /// Local ports that connections are given.
    ports: Option<usize>,
    /// The longest queue of connections that a server has not accepted.
    backlog: Option<usize>,
    /// The connections that the firewall keeps in mind.
    tracked: Option<usize>,
    crowd: Option<Crowd>,
}

/// The most connections between two addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Crowd {
    server: SocketAddr,
    connections: usize,
}

/// Looks at the machine: what is to be said about it, or why the run is not possible.
pub(crate) fn check(plan: &Plan, is_own_server: bool) -> Result<Vec<String>, String> {
    if plan.run.child.is_some() {
        // The leading process has looked.
        return Ok(Vec::new());
    }
    let Environment { processors, quota, governor, .. } = Environment::observe();
    let groups = &plan.groups;
    let facts = Facts {
        connections: groups.iter().map(|group| group.connections()).sum(),
        connecting: plan.run.connecting.get(),
        threads: plan.workers(),
        workers: is_own_server.then_some(plan.run.server_workers.get()),
        is_same_host: is_same_host(plan),
        processors,
        quota,
        governor,
        ports: text_in("/proc/sys/net/ipv4/ip_local_port_range").and_then(|text| ports(&text)),
        backlog: number_in("/proc/sys/net/core/somaxconn"),
        tracked: number_in("/proc/sys/net/netfilter/nf_conntrack_max"),
        crowd: crowd(pairs(plan)),
    };
    facts.fault().map_or_else(|| Ok(facts.notes()), Err)
}

/// Whether client and servers share a machine.
pub(crate) fn is_same_host(plan: &Plan) -> bool {
    let mut addresses = plan.groups.iter().flat_map(|group| group.target.internet());
    addresses.all(|address| is_here(address.ip()))
}

/// From where to where each connection leads; no address is the one that the kernel chooses.
fn pairs(plan: &Plan) -> impl Iterator<Item = (Option<IpAddr>, SocketAddr)> + '_ {
    plan.groups.iter().flat_map(|group| {
        let numbers = group.first..group.first + group.connections();
        numbers.filter_map(|number| {
            let source = group.target.source(number).map(|source| source.ip());
            match group.target.address(number) {
                Address::Internet(server) => Some((source, *server)),
                Address::Unix(_) => None,
            }
        })
    })
}

fn crowd(pairs: impl Iterator<Item = (Option<IpAddr>, SocketAddr)>) -> Option<Crowd> {
    let mut crowds: HashMap<_, usize> = HashMap::new();
    pairs.for_each(|pair| *crowds.entry(pair).or_default() += 1);
    let largest = crowds.into_iter().max_by_key(|(_, connections)| *connections);
    largest.map(|((_, server), connections)| Crowd { server, connections })
}

/// Reads the first port and the last one.
fn ports(text: &str) -> Option<usize> {
    let mut numbers = text.split_whitespace().map(str::parse::<usize>);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (last + 1).checked_sub(first)
}

impl Facts {
    /// What makes the run impossible.
    fn fault(&self) -> Option<String> {
        let (crowd, ports) = (self.crowd.as_ref()?, self.ports?);
        (crowd.connections > ports).then(|| {
            format!(
                "{} connections from one address to {} need as many local ports, and there are {}: \
                 give more addresses with --source, or raise net.ipv4.ip_local_port_range",
                count(crowd.connections as f64),
                crowd.server,
                count(ports as f64)
            )
        })
    }

    /// What will be in the figures.
    fn notes(&self) -> Vec<String> {
        let all = [
            self.sharing(),
            self.quota_note(),
            self.backlog_note(),
            self.governor_note(),
            self.tracking(),
        ];
        all.into_iter().flatten().collect()
    }

    fn sharing(&self) -> Option<String> {
        if !self.is_same_host {
            return (self.threads > self.processors).then(|| {
                let processors = plural(self.processors, "processor");
                format!("{} share {processors}", plural(self.threads, "thread"))
            });
        }
        let busy = self.threads + self.workers.unwrap_or(1);
        let processors = plural(self.processors, "processor");
        Some(match busy > self.processors {
            true => format!(
                "client and server share this host, and their {busy} threads its {processors}: \
                 they are in each other's way"
            ),
            false => "client and server share this host: its caches and its kernel are in the \
                      figures of both"
                .into(),
        })
    }

    fn quota_note(&self) -> Option<String> {
        let threads = self.threads + self.workers.unwrap_or(0);
        let quota = self.quota.filter(|quota| *quota < threads as f64)?;
        let threads = plural(threads, "thread");
        Some(format!(
            "the control group grants {threads} the time of {quota:.1} processors: they may be \
             stopped for a part of each period"
        ))
    }

    fn backlog_note(&self) -> Option<String> {
        let at_once = self.connecting.min(self.connections);
        let backlog = self.backlog.filter(|backlog| self.is_same_host && *backlog < at_once)?;
        Some(format!(
            "{at_once} connections are begun at a time, and no server's queue has more than \
             {backlog} places: raise net.core.somaxconn or give fewer with --connecting"
        ))
    }

    fn governor_note(&self) -> Option<String> {
        let governor = self.governor.as_ref().filter(|governor| *governor != "performance")?;
        Some(format!(
            "the processors' frequency changes with the load (governor {governor}): performance \
             keeps it"
        ))
    }

    fn tracking(&self) -> Option<String> {
        let tracked = self.tracked.filter(|tracked| *tracked < self.connections)?;
        Some(format!(
            "the firewall keeps {} connections in mind, and drops more: raise \
             net.netfilter.nf_conntrack_max",
            count(tracked as f64)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that nothing is in the way of.
    fn calm() -> Facts {
        Facts {
            connections: 1000,
            connecting: 256,
            threads: 2,
            processors: 4,
            quota: Some(4.0),
            governor: Some("performance".into()),
            ports: Some(28_232),
            backlog: Some(4096),
            tracked: Some(262_144),
            crowd: Some(Crowd { server: "192.0.2.1:80".parse().unwrap(), connections: 28_232 }),
            ..Facts::default()
        }
    }

    #[track_caller]
    fn expect(facts: Facts, words: &str) {
        let [note] = &facts.notes()[..] else { panic!("{:?}", facts.notes()) };
        assert!(note.contains(words), "{note}");
        assert!(!note.contains('\n'));
    }

    #[test]
    fn nothing_is_said_without_a_reason() {
        assert_eq!(calm().notes(), [""; 0]);
        assert_eq!(calm().fault(), None);
        let unknown = Facts {
            quota: None,
            governor: None,
            ports: None,
            backlog: None,
            tracked: None,
            is_same_host: false,
            ..calm()
        };
        assert_eq!((unknown.notes().len(), unknown.fault()), (0, None));
    }

    #[test]
    fn what_will_be_in_the_figures_is_said() {
        expect(Facts { threads: 5, quota: None, ..calm() }, "5 threads share 4 processors");
        expect(Facts { quota: Some(1.5), ..calm() }, "the time of 1.5 processors");
        expect(Facts { governor: Some("powersave".into()), ..calm() }, "governor powersave");
        expect(Facts { tracked: Some(999), ..calm() }, "nf_conntrack_max");
        let local = Facts { is_same_host: true, workers: Some(2), ..calm() };
        expect(local.clone(), "its caches and its kernel");
        expect(Facts { processors: 3, ..local.clone() }, "their 4 threads its 3 processors");
        let narrow = Facts { backlog: Some(128), ..local };
        assert!(narrow.notes()[1].contains("more than 128 places"), "{:?}", narrow.notes());
        // A remote one's queue is not known here.
        assert_eq!(Facts { is_same_host: false, ..narrow }.notes().len(), 0);
    }

    #[test]
    fn too_few_ports_are_a_fault() {
        let fault = Facts { ports: Some(28_231), ..calm() }.fault().unwrap();
        assert!(fault.contains("28,232 connections from one address to 192.0.2.1:80"), "{fault}");
        assert!(fault.contains("--source") && !fault.contains('\n'), "{fault}");
        assert_eq!(ports("32768\t60999\n"), Some(28_232));
        assert_eq!(ports("1"), None);
    }

    #[test]
    fn connections_are_counted_for_each_pair_of_addresses() {
        let server = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let source = |last| Some(IpAddr::from([192, 0, 2, last]));
        let pairs = [(None, 1), (source(2), 2), (source(3), 2), (source(2), 2), (source(2), 1)];
        let crowd = crowd(pairs.into_iter().map(|(source, port)| (source, server(port))));
        assert_eq!(crowd, Some(Crowd { server: server(2), connections: 2 }));
        assert_eq!(super::crowd([].into_iter()), None);
    }
}
