// SPDX-License-Identifier: LGPL-2.1-or-later
// The faulting side of `tools/bench fault`. Three round trips, interleaved one by one in this process, so that they
// see the same CPUs, the same clock and the same noise:
//   floor  touch of an absent page, answered by UFFDIO_COPY from a process that has the bytes at hand
//   wire   32 bytes to another process over TCP loopback and 4 KiB back, blocking sockets, TCP_NODELAY
//   heca   touch of a page of this process that a hecad has evicted to a sponsor
// Boundary of floor and heca: the touching instruction; of wire: send() to the last byte of recv().
// Use: bench_fault FILE MIB ROUNDS. Prints "ready PID", waits for a line, prints one line "floor wire heca" (ns) a round.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kPage = 4096;
using Clock = std::chrono::steady_clock;

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void MustBe(bool fine, const char* what) {
  if (!fine) Die(what);
}

std::byte* MapFile(const char* path, std::size_t bytes) {
  const int fd = ::open(path, O_RDWR | O_CREAT, 0600);
  MustBe(fd >= 0 && ::ftruncate(fd, static_cast<off_t>(bytes)) == 0, path);
  void* map = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  MustBe(map != MAP_FAILED, "mmap");
  ::close(fd);
  return static_cast<std::byte*>(map);
}

template <class Body>
void InChild(Body body) {
  const pid_t child = ::fork();
  MustBe(child >= 0, "fork");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    body();
    std::_Exit(0);
  }
}

/// A mapping whose faults a child process answers from memory at hand.
std::byte* StartFloor(std::size_t bytes) {
  const std::string path = "/dev/shm/heca-bench-floor-" + std::to_string(::getpid());
  std::byte* map = MapFile(path.c_str(), bytes);
  ::unlink(path.c_str());
  const int device = ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  MustBe(device >= 0, "/dev/userfaultfd");
  const int uffd = ::ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
  MustBe(uffd >= 0, "USERFAULTFD_IOC_NEW");
  uffdio_api api{};
  api.api = UFFD_API;
  MustBe(::ioctl(uffd, UFFDIO_API, &api) == 0, "UFFDIO_API");
  uffdio_register reg{};
  reg.range = {reinterpret_cast<std::uint64_t>(map), bytes};
  reg.mode = UFFDIO_REGISTER_MODE_MISSING;
  MustBe(::ioctl(uffd, UFFDIO_REGISTER, &reg) == 0, "UFFDIO_REGISTER");
  InChild([uffd] {
    alignas(kPage) static std::array<std::byte, kPage> page;
    page.fill(std::byte{1});
    for (;;) {
      pollfd ready{uffd, POLLIN, 0};
      if (::poll(&ready, 1, -1) < 0) continue;
      uffd_msg message;
      if (::read(uffd, &message, sizeof message) != sizeof message) continue;
      uffdio_copy copy{};
      copy.dst = message.arg.pagefault.address & ~(kPage - 1);
      copy.src = reinterpret_cast<std::uint64_t>(page.data());
      copy.len = kPage;
      MustBe(::ioctl(uffd, UFFDIO_COPY, &copy) == 0, "UFFDIO_COPY");
    }
  });
  ::close(uffd);  // the child's copy serves; a second one here would look like another pager
  ::close(device);
  return map;
}

void ReceiveAll(int fd, std::byte* to, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t got = ::recv(fd, to, bytes, 0);
    if (got <= 0) std::_Exit(0);
    to += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

int StartWire() {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  MustBe(::bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0 && ::listen(listener, 1) == 0, "listen");
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  const int one = 1;
  InChild([&] {
    const int fd = ::accept(listener, nullptr, nullptr);
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    std::array<std::byte, kPage> page{};
    for (;;) {
      ReceiveAll(fd, page.data(), 32);
      if (::send(fd, page.data(), kPage, MSG_NOSIGNAL) != static_cast<ssize_t>(kPage)) return;
    }
  });
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  MustBe(::connect(fd, reinterpret_cast<sockaddr*>(&address), length) == 0, "connect");
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

template <class Body>
long long Timed(Body body) {
  const auto begin = Clock::now();
  body();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
}

std::uint64_t Touch(const std::byte* page) { return *reinterpret_cast<const volatile std::uint64_t*>(page); }

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("use: bench_fault FILE MIB ROUNDS\n", stderr);
    return 2;
  }
  const std::size_t bytes = std::strtoull(argv[2], nullptr, 10) << 20;
  const std::size_t rounds = std::strtoull(argv[3], nullptr, 10);
  const std::size_t pages = bytes / kPage;
  std::byte* floor = StartFloor(rounds * kPage);  // the helpers first: they must not map the memory that is governed
  const int wire = StartWire();
  std::byte* heca = MapFile(argv[1], bytes);
  for (std::size_t i = 0; i < pages; ++i) {
    for (std::size_t word = 0; word < kPage; word += 8) {
      const std::uint64_t value = i * kPage + word + 1;
      std::memcpy(heca + i * kPage + word, &value, sizeof value);
    }
  }
  std::printf("ready %d\n", ::getpid());
  std::fflush(stdout);
  std::array<char, 16> line{};
  if (std::fgets(line.data(), line.size(), stdin) == nullptr) return 0;

  std::vector<std::size_t> order(pages);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(42));
  std::array<std::byte, kPage> answer{};
  for (std::size_t round = 0; round < rounds; ++round) {
    const std::size_t page = order[round % pages];
    const long long floor_ns = Timed([&] { (void)Touch(floor + round * kPage); });
    const long long wire_ns = Timed([&] {
      MustBe(::send(wire, answer.data(), 32, MSG_NOSIGNAL) == 32, "send");
      ReceiveAll(wire, answer.data(), kPage);
    });
    std::uint64_t seen = 0;
    const long long heca_ns = Timed([&] { seen = Touch(heca + page * kPage); });
    if (seen != page * kPage + 1) {
      std::fprintf(stderr, "page %zu: read %llu, expected %zu\n", page, static_cast<unsigned long long>(seen),
                   page * kPage + 1);
      return 1;
    }
    std::printf("%lld %lld %lld\n", floor_ns, wire_ns, heca_ns);
  }
  std::puts("done");
  std::fflush(stdout);
  (void)std::fgets(line.data(), line.size(), stdin);  // stays until its memory was detached
  return 0;
}
