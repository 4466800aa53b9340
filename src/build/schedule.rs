//! Which package is built when: the longest expected path first, within what the machine has. Pure: knows no clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::time::Duration;

use crate::plan::Plan;

/// Builds are seldom busy on all that they have, so that each is given so many times its share of processors.
const OVERCOMMIT: usize = 2;

/// What the machine has for all builds together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Builds at once, at most.
    pub jobs: NonZero<usize>,
    /// Processors.
    pub processors: NonZero<usize>,
    /// Memory, bytes.
    pub memory: u64,
}

/// What one package asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// How long it took before, where that is known.
    pub time: Option<Duration>,
    /// How much memory it will take at most, where that is known.
    pub memory: Option<u64>,
    /// Processors that it is given whatever else goes on.
    pub processors: Option<NonZero<usize>>,
}

/// A package to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Its place in the plan.
    pub place: usize,
    /// Processors that it is given.
    pub processors: NonZero<usize>,
}

/// A plan in progress: every package is started once, or passed over.
#[derive(Debug)]
pub struct Schedule {
    machine: Machine,
    tasks: Vec<Task>,
    /// What may start: the longest path that hangs on it first, then the plan's order.
    ready: BTreeSet<(Reverse<Duration>, usize)>,
    running: BTreeMap<usize, Start>,
    /// Expected time of what is neither running nor settled; none where less than half was built before.
    outstanding: Option<Duration>,
    open: usize,
}

#[derive(Debug)]
struct Task {
    demand: Demand,
    time: Duration,
    /// Its time and that of the longest chain that waits for it.
    path: Duration,
    waits: usize,
    dependents: Vec<usize>,
    passed: bool,
}

impl Schedule {
    /// A schedule of the whole plan; `demands` are in its order.
    pub fn new(plan: &Plan, demands: &[Demand], machine: Machine) -> Self {
        let places: BTreeMap<&str, usize> = plan
            .steps
            .iter()
            .enumerate()
            .map(|(place, step)| (step.name.as_str(), place))
            .collect();
        let usual = usual(demands);
        let mut tasks: Vec<Task> = (0..plan.steps.len())
            .map(|place| {
                let demand = demands.get(place).copied().unwrap_or_default();
                let time = demand.time.or(usual).unwrap_or(Duration::from_secs(1));
                Task {
                    demand,
                    time,
                    path: time,
                    waits: 0,
                    dependents: Vec::new(),
                    passed: false,
                }
            })
            .collect();
        for (place, step) in plan.steps.iter().enumerate() {
            for need in step
                .needs
                .iter()
                .filter_map(|name| places.get(name.as_str()))
            {
                tasks[*need].dependents.push(place);
                tasks[place].waits += 1;
            }
        }
        // Dependents come later in the plan: their paths are known when they are asked for.
        for place in (0..tasks.len()).rev() {
            let longest = tasks[place]
                .dependents
                .iter()
                .map(|&later| tasks[later].path)
                .max();
            tasks[place].path = tasks[place].time + longest.unwrap_or_default();
        }
        // An estimate that rests on a few of many would mislead.
        let known = demands.iter().filter(|demand| demand.time.is_some());
        let enough = known.count() * 2 >= tasks.len();
        let outstanding = enough.then(|| tasks.iter().map(|task| task.time).sum());
        let free = tasks.iter().enumerate().filter(|(_, task)| task.waits == 0);
        Self {
            ready: free
                .map(|(place, task)| (Reverse(task.path), place))
                .collect(),
            open: tasks.len(),
            machine,
            tasks,
            running: BTreeMap::new(),
            outstanding,
        }
    }

    /// The next package to start now, with its share of the machine; none where all must wait.
    pub fn start(&mut self) -> Option<Start> {
        let places = self.machine.jobs.get().saturating_sub(self.running.len());
        if places == 0 {
            return None;
        }
        let (path, place) = *self.ready.iter().find(|(_, place)| self.fits(*place))?;
        let share = self.share(places.min(self.ready.len()));
        self.ready.remove(&(path, place));
        let task = &self.tasks[place];
        let start = Start {
            place,
            processors: task.demand.processors.unwrap_or(share),
        };
        self.outstanding = self.outstanding.map(|time| time.saturating_sub(task.time));
        self.running.insert(place, start);
        Some(start)
    }

    /// A package has ended. Where it is not good, gives what cannot be built any more, in the plan's order, each
    /// with what it needs of that.
    pub fn end(&mut self, place: usize, good: bool) -> BTreeMap<usize, usize> {
        self.running.remove(&place);
        self.open -= 1;
        if good {
            for dependent in self.tasks[place].dependents.clone() {
                let task = &mut self.tasks[dependent];
                task.waits -= 1;
                if task.waits == 0 && !task.passed {
                    self.ready.insert((Reverse(task.path), dependent));
                }
            }
            return BTreeMap::new();
        }
        self.pass_over(place)
    }

    /// A package was ended before its own end: nothing is known of it, nor of what needs it.
    pub fn interrupt(&mut self, place: usize) {
        self.running.remove(&place);
    }

    fn pass_over(&mut self, bad: usize) -> BTreeMap<usize, usize> {
        let mut passed = BTreeMap::new();
        let mut causes = vec![bad];
        while let Some(cause) = causes.pop() {
            for dependent in self.tasks[cause].dependents.clone() {
                let task = &mut self.tasks[dependent];
                if !std::mem::replace(&mut task.passed, true) {
                    self.outstanding = self.outstanding.map(|time| time.saturating_sub(task.time));
                    self.open -= 1;
                    passed.insert(dependent, cause);
                    causes.push(dependent);
                }
            }
        }
        passed
    }

    /// Whether every package has ended or was passed over.
    pub fn is_done(&self) -> bool {
        self.open == 0
    }

    /// What is being built, by place in the plan.
    pub fn running(&self) -> impl Iterator<Item = usize> {
        self.running.keys().copied()
    }

    /// How long the rest will take, by earlier runs; `since` says how long a running package has been at it.
    pub fn remaining(&self, since: impl Fn(usize) -> Duration) -> Option<Duration> {
        let left = |place: usize, whole: Duration| whole.saturating_sub(since(place));
        let running = || self.running.keys().copied();
        let work = running()
            .map(|place| left(place, self.tasks[place].time))
            .sum::<Duration>()
            + self.outstanding?;
        let at_once = self.machine.jobs.min(self.machine.processors);
        let share = work / u32::try_from(at_once.get()).unwrap_or(u32::MAX);
        let waiting = self.ready.first().map(|(Reverse(path), _)| *path);
        let paths = running().map(|place| left(place, self.tasks[place].path));
        Some(
            paths
                .chain(waiting)
                .chain([share])
                .max()
                .unwrap_or_default(),
        )
    }

    /// Whether its memory is there. What would never fit is built alone.
    fn fits(&self, place: usize) -> bool {
        let used: u64 = self
            .running
            .keys()
            .map(|running| self.memory(*running))
            .sum();
        self.running.is_empty() || used.saturating_add(self.memory(place)) <= self.machine.memory
    }

    /// Memory to count with: a place's share where nothing is known.
    fn memory(&self, place: usize) -> u64 {
        let share = self.machine.memory / self.machine.jobs.get() as u64;
        self.tasks[place].demand.memory.unwrap_or(share)
    }

    /// Processors for one of `starting` packages that could start now.
    fn share(&self, starting: usize) -> NonZero<usize> {
        let all = self.machine.processors;
        let in_use: usize = self
            .running
            .values()
            .map(|start| start.processors.get())
            .sum();
        let free = (all.get() * OVERCOMMIT).saturating_sub(in_use);
        let share = free.div_ceil(starting.max(1));
        NonZero::new(share).map_or(NonZero::<usize>::MIN, |share| share.min(all))
    }
}

/// The median of what is known.
fn usual(demands: &[Demand]) -> Option<Duration> {
    let mut known: Vec<Duration> = demands.iter().filter_map(|demand| demand.time).collect();
    known.sort_unstable();
    known.get(known.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Step;

    /// A plan of packages named by their places; each needs those of earlier places that are listed.
    fn plan(needs: &[Vec<usize>]) -> Plan {
        let name = |place: &usize| format!("p{place:04}");
        let step = |(place, needs): (usize, &Vec<usize>)| Step {
            name: name(&place),
            needs: needs.iter().map(name).collect(),
        };
        Plan {
            steps: needs.iter().enumerate().map(step).collect(),
        }
    }

    fn takes(seconds: u64) -> Demand {
        Demand {
            time: Some(Duration::from_secs(seconds)),
            ..Demand::default()
        }
    }

    fn machine(jobs: usize, processors: usize, memory: u64) -> Machine {
        Machine {
            jobs: NonZero::new(jobs).unwrap(),
            processors: NonZero::new(processors).unwrap(),
            memory,
        }
    }

    /// Builds of no work on a clock of its own: gives the order of starts and the time at the end.
    fn simulate(schedule: &mut Schedule, time: impl Fn(usize) -> u64) -> (Vec<Start>, u64) {
        let (mut now, mut starts) = (0, Vec::new());
        let mut ends: BTreeSet<(u64, usize)> = BTreeSet::new();
        loop {
            while let Some(start) = schedule.start() {
                ends.insert((now + time(start.place), start.place));
                starts.push(start);
            }
            let Some((at, place)) = ends.pop_first() else {
                return (starts, now);
            };
            now = at;
            schedule.end(place, true);
        }
    }

    /// All that may start now.
    fn started(schedule: &mut Schedule) -> Vec<usize> {
        std::iter::from_fn(|| schedule.start())
            .map(|start| start.place)
            .collect()
    }

    fn places(starts: &[Start]) -> Vec<usize> {
        starts.iter().map(|start| start.place).collect()
    }

    #[test]
    fn the_longest_path_goes_first() {
        // 3 needs 2; alone, 2 is the shortest, and with 3 the longest.
        let plan = plan(&[vec![], vec![], vec![], vec![2]]);
        let times = [4, 5, 1, 9];
        let demands = times.map(takes);
        let mut schedule = Schedule::new(&plan, &demands, machine(2, 2, 0));
        let (starts, end) = simulate(&mut schedule, |place| times[place]);
        assert_eq!((places(&starts), end), (vec![2, 1, 3, 0], 10));
        assert!(schedule.is_done());
    }

    #[test]
    fn without_earlier_runs_what_most_depends_on_goes_first() {
        let plan = plan(&[vec![], vec![], vec![1], vec![2]]);
        let mut schedule = Schedule::new(&plan, &[], machine(1, 1, 0));
        assert_eq!(schedule.remaining(|_| Duration::ZERO), None);
        assert_eq!(places(&simulate(&mut schedule, |_| 1).0), [1, 2, 0, 3]);
    }

    #[test]
    fn processors_are_shared_out() {
        let given = |packages: usize, machine: Machine, pinned: Option<usize>| -> Vec<usize> {
            let plan = plan(&vec![Vec::new(); packages]);
            let demand = Demand {
                processors: pinned.and_then(NonZero::new),
                ..Demand::default()
            };
            let mut schedule = Schedule::new(&plan, &vec![demand; packages], machine);
            std::iter::from_fn(|| schedule.start())
                .map(|start| start.processors.get())
                .collect()
        };
        for (packages, jobs, processors, pinned, expected) in [
            (1, 2, 2, None, vec![2]),
            (3, 2, 2, None, vec![2, 2]),
            (3, 1, 8, None, vec![8]),
            (9, 8, 8, None, vec![2; 8]),
            (2, 8, 8, None, vec![8, 8]),
            (4, 4, 1, None, vec![1; 4]),
            (2, 2, 8, Some(3), vec![3, 3]),
        ] {
            let machine = machine(jobs, processors, 0);
            assert_eq!(
                given(packages, machine, pinned),
                expected,
                "{packages} {machine:?}"
            );
        }
    }

    #[test]
    fn memory_is_shared_out_and_what_never_fits_is_built_alone() {
        let plan = plan(&vec![Vec::new(); 4]);
        let demands = [6, 5, 3, 20].map(|memory| Demand {
            memory: Some(memory),
            ..Demand::default()
        });
        let mut schedule = Schedule::new(&plan, &demands, machine(4, 4, 10));
        assert_eq!(started(&mut schedule), [0, 2]);
        schedule.end(0, true);
        assert_eq!(started(&mut schedule), [1]);
        schedule.end(1, true);
        schedule.end(2, true);
        assert_eq!(schedule.start().map(|start| start.place), Some(3));
    }

    #[test]
    fn what_needs_a_failure_is_passed_over_with_its_cause() {
        let plan = plan(&[vec![], vec![0], vec![1], vec![], vec![2, 3]]);
        let mut schedule = Schedule::new(&plan, &[], machine(2, 2, 0));
        assert_eq!(started(&mut schedule), [0, 3]);
        let passed: Vec<_> = schedule.end(0, false).into_iter().collect();
        assert_eq!(passed, [(1, 0), (2, 1), (4, 2)]);
        assert!(!schedule.is_done());
        assert!(schedule.end(3, true).is_empty());
        assert_eq!(schedule.start(), None);
        assert!(schedule.is_done());
    }

    #[test]
    fn the_rest_is_estimated_by_work_and_by_paths() {
        let plan = plan(&[vec![], vec![0], vec![], vec![]]);
        let demands = [takes(10), takes(30), takes(2), takes(2)];
        let mut schedule = Schedule::new(&plan, &demands, machine(2, 2, 0));
        let seconds = |schedule: &Schedule, since: u64| {
            let rest = schedule.remaining(|_| Duration::from_secs(since));
            rest.map(|rest| rest.as_secs())
        };
        assert_eq!(seconds(&schedule, 0), Some(40));
        schedule.start();
        assert_eq!(seconds(&schedule, 4), Some(36));
        schedule.end(0, true);
        let (_, _) = simulate(&mut schedule, |_| 1);
        assert_eq!(seconds(&schedule, 0), Some(0));
    }

    #[test]
    fn two_thousand_packages_are_no_work() {
        // Each needs up to five of the two hundred before it.
        let needs: Vec<Vec<usize>> = (0..2000_usize)
            .map(|place| {
                (1..6)
                    .map(|step| place.saturating_sub(step * 37))
                    .filter(|need| *need < place)
                    .collect()
            })
            .collect();
        let plan = plan(&needs);
        let demands: Vec<Demand> = (0..2000).map(|place| takes(1 + place % 97)).collect();
        let mut schedule = Schedule::new(&plan, &demands, machine(16, 16, 1 << 36));
        let (starts, _) = simulate(&mut schedule, |place| 1 + place as u64 % 97);
        assert_eq!(starts.len(), 2000);
    }

    proptest! {
        /// Whatever the plan, the machine and the outcomes: each package is started once, after what it needs, within
        /// the machine, or passed over because of something that it needs; and no place stays empty without a reason.
        #[test]
        fn every_plan_is_carried_out(
            needs in proptest::collection::vec(proptest::collection::vec(0..24_usize, 0..4), 1..24),
            demands in proptest::collection::vec((0..9_u64, 0..9_u64), 24),
            good in proptest::collection::vec(proptest::bool::weighted(0.8), 24),
            (jobs, processors, memory) in (1..5_usize, 1..9_usize, 1..20_u64),
        ) {
            let needs: Vec<Vec<usize>> = needs
                .into_iter()
                .enumerate()
                .map(|(place, needs)| needs.into_iter().filter(|need| *need < place).collect())
                .collect();
            let plan = plan(&needs);
            let demands: Vec<Demand> = demands
                .iter()
                .map(|(time, memory)| Demand {
                    time: (*time > 0).then(|| Duration::from_secs(*time)),
                    memory: (*memory > 0).then_some(*memory),
                    processors: None,
                })
                .collect();
            let machine = machine(jobs, processors, memory);
            let mut schedule = Schedule::new(&plan, &demands, machine);
            let mut running: Vec<usize> = Vec::new();
            let mut settled: BTreeMap<usize, bool> = BTreeMap::new();
            while !schedule.is_done() {
                while let Some(start) = schedule.start() {
                    prop_assert!(needs[start.place].iter().all(|need| settled.get(need) == Some(&true)));
                    prop_assert!(!running.contains(&start.place) && !settled.contains_key(&start.place));
                    prop_assert!(start.processors.get() <= processors);
                    running.push(start.place);
                    prop_assert!(running.len() <= jobs);
                }
                prop_assert!(!running.is_empty(), "it stands still");
                let place = running.remove(0);
                settled.insert(place, good[place]);
                for (passed, cause) in schedule.end(place, good[place]) {
                    prop_assert!(needs[passed].contains(&cause));
                    prop_assert_eq!(settled.get(&cause), Some(&false));
                    settled.insert(passed, false);
                }
            }
            prop_assert_eq!(settled.len(), plan.steps.len());
        }
    }
}
