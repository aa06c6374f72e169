// SPDX-License-Identifier: LGPL-2.1-or-later
// The engine under everything at once: writers with private counters, a limit that changes, page table entries zapped
// as reclaim does, discards, a store that is slow or gone, and (--kill) daemons that are killed. Ends with detach and a
// last look at every counter. Exit code 0: no wrong value.
//
//   engine_hammer [--seconds N] [--threads N] [--pages N] [--huge] [--kill]
#include <sys/uio.h>

#include <cstring>

#include "support/forked_guest.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

namespace heca::test {
namespace {

struct Options {
  unsigned seconds = 10;
  unsigned threads = 8;
  std::uint64_t pages = 4096;
  Bytes page_size = kBasePage;
  bool kill = false;
};

int Report(const char* what, std::uint64_t visits, std::uint64_t wrong, MemoryArena& arena, bool home) {
  const auto& switches = arena.switches();
  const bool good = wrong == 0 && home && switches.violations == 0 && switches.lost_reads == 0;
  std::printf("%s: %llu visits, %llu wrong, %llu slots overwritten, %llu reads of unwritten slots, %s\n", what,
              static_cast<unsigned long long>(visits), static_cast<unsigned long long>(wrong),
              static_cast<unsigned long long>(switches.violations.load()),
              static_cast<unsigned long long>(switches.lost_reads.load()), home ? "home" : "NOT HOME");
  return good ? 0 : 1;
}

/// Zaps page table entries as reclaim does, and discards pages that belong to no writer.
void Disturb(EngineHarness& harness, std::uint64_t owned, std::atomic<bool>& stop, std::atomic<std::uint64_t>& wrong) {
  GuestMemory& guest = harness.guest();
  unique_fd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  const std::uint64_t spare = guest.pages() - owned;
  std::uint64_t random = 42;
  while (!stop) {
    random = random * 6364136223846793005U + 1442695040888963407U;
    iovec range{guest.At((random >> 33) % (owned - 32)), 32 * 4096};
    (void)::syscall(SYS_process_madvise, self.get(), &range, 1, MADV_PAGEOUT, 0);
    const std::uint64_t page = owned + (random >> 20) % (spare - 8);
    guest.Word(page) = random | 1;
    const int way = static_cast<int>(random >> 50 & 3);
    if (way == 0) (void)::madvise(guest.At(page), 8 * 4096, MADV_REMOVE);
    if (way == 1) (void)guest.Punch(page, 8);
    if (way == 2) {  // QEMU's way
      (void)guest.Punch(page, 8);
      (void)::madvise(guest.At(page), 8 * 4096, MADV_DONTNEED);
    }
    const std::uint64_t seen = guest.Word(page);
    // Silent punches of an Away page are the guest's own business until it says so: way 1 may leave the old value.
    const bool right = way == 3 ? seen == (random | 1) : way == 1 ? seen == 0 || seen == (random | 1) : seen == 0;
    if (!right) ++wrong;
  }
}

int Hammer(const Options& options) {
  EngineHarness harness({.pages = options.pages, .limit = options.pages / 4, .page_size = options.page_size,
                         .min_residence = Millis(2)});
  HECA_CHECK(harness.Start().ok());
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> wrong{0};
  // The writers use all pages but the last eighth.
  const std::uint64_t owned = options.pages / 8 * 7 / options.threads * options.threads;
  std::thread disturber;
  if (options.page_size == kBasePage) {
    disturber = std::thread([&] { Disturb(harness, owned, stop, wrong); });
  }
  std::uint64_t visits = 0;
  {
    ShadowWriters writers(harness.guest(), options.threads, 4, false, owned);
    // The time counts from when they have read all of it once, which takes seconds in a guest under TCG.
    HECA_CHECK(WaitUntil([&] { return writers.visits() > 1000; }, std::chrono::seconds(120)));
    const Clock::time_point end = Clock::now() + std::chrono::seconds(options.seconds);
    for (unsigned round = 0; Clock::now() < end; ++round) {
      const std::uint64_t limits[] = {options.pages / 4, 64, options.pages / 2, options.pages / 16, options.pages};
      harness.engine().SetLimit(PageCount(limits[round % 5]));
      harness.arena().switches().delay_ns = round % 3 == 2 ? 200'000 : 0;
      harness.arena().switches().disconnected = round % 11 == 10;
      std::this_thread::sleep_for(std::chrono::milliseconds(options.seconds < 60 ? 150 : 400));
    }
    harness.arena().switches().disconnected = false;
    stop = true;
    if (disturber.joinable()) disturber.join();
    writers.Finish();
    wrong += writers.wrong();
    visits = writers.visits();
  }
  harness.engine().BringHome();
  const bool home = harness.engine().WaitHome(Deadline::After(std::chrono::seconds(60)));
  const fault::EngineStats stats = harness.engine().Stats();
  std::printf("evicted %llu (clean %llu, zero %llu), mapped anew %llu, cancelled %llu, stale answers %llu, "
              "again %llu, stray %llu, kernel errors %llu\n",
              static_cast<unsigned long long>(stats.evictions), static_cast<unsigned long long>(stats.clean_drops),
              static_cast<unsigned long long>(stats.zero_drops),
              static_cast<unsigned long long>(stats.latency[static_cast<std::size_t>(fault::AnswerSource::kMinor)].total),
              static_cast<unsigned long long>(stats.cancels),
              static_cast<unsigned long long>(stats.stale_answers), static_cast<unsigned long long>(stats.again),
              static_cast<unsigned long long>(stats.stray_pages), static_cast<unsigned long long>(stats.kernel_errors));
  const int result = Report("hammer", visits, wrong, harness.arena(), home);
  return stats.kernel_errors == 0 && stats.stray_pages == 0 ? result : 1;
}

int Kill(const Options& options) {
  ForkedGuest guest({.pages = options.pages, .limit = options.pages / 4, .threads = options.threads,
                     .page_size = options.page_size});
  const Clock::time_point end = Clock::now() + std::chrono::seconds(options.seconds);
  unsigned kills = 0;
  for (; Clock::now() < end; ++kills) {
    if (!guest.StartEngine("")) return 1;
    std::this_thread::sleep_for(std::chrono::microseconds(20'000 + kills * 7919 % 90'000));
    guest.KillEngine();
  }
  if (!guest.StartEngine("")) return 1;
  const bool home = guest.ComeHome() && guest.EndGuest();
  std::printf("killed %u daemons\n", kills);
  return Report("kill", guest.control().visits.load(), guest.control().wrong.load(), guest.arena(), home);
}

}  // namespace
}  // namespace heca::test

int main(int argc, char** argv) {
  heca::test::Options options;
  for (int i = 1; i < argc; ++i) {
    const auto is = [&](const char* name) { return std::strcmp(argv[i], name) == 0; };
    const auto number = [&] { return i + 1 < argc ? std::strtoull(argv[++i], nullptr, 10) : 0; };
    if (is("--seconds")) options.seconds = static_cast<unsigned>(number());
    else if (is("--threads")) options.threads = static_cast<unsigned>(number());
    else if (is("--pages")) options.pages = number();
    else if (is("--huge")) options.page_size = heca::kHugePage;
    else if (is("--kill")) options.kill = true;
    else {
      std::fprintf(stderr, "usage: engine_hammer [--seconds N] [--threads N] [--pages N] [--huge] [--kill]\n");
      return 2;
    }
  }
  if (options.threads == 0 || options.pages < 256 * (options.page_size == heca::kBasePage ? 1U : 0U)) return 2;
  return options.kill ? heca::test::Kill(options) : heca::test::Hammer(options);
}
