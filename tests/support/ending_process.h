// SPDX-License-Identifier: LGPL-2.1-or-later
// A process whose first thread has ended: it has no memory to be seen, as one that was killed and that the kernel takes apart,
// and its files are open still.
#pragma once

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "base/check.h"
#include "base/clock.h"

namespace heca::test {

class EndingProcess {
 public:
  /// `open` says whether it has opened what is to be open for `span` more. Forks: the caller has one thread.
  template <class Open>
  EndingProcess(Millis span, Open open) {
    int ready[2];
    HECA_CHECK(::pipe(ready) == 0);
    pid_ = ::fork();
    HECA_CHECK(pid_ >= 0);
    if (pid_ == 0) {
      ::close(ready[0]);
      if (!open()) ::_exit(1);
      std::thread([&] {
        while (std::ifstream("/proc/self/cmdline").get() != std::ifstream::traits_type::eof()) std::this_thread::yield();
        if (::write(ready[1], "x", 1) != 1) ::_exit(1);
        std::this_thread::sleep_for(span);
        ::_exit(0);
      }).detach();
      ::syscall(SYS_exit, 0);
    }
    ::close(ready[1]);
    char one = 0;
    HECA_CHECK(::read(ready[0], &one, 1) == 1);
    ::close(ready[0]);
  }
  ~EndingProcess() { ::waitpid(pid_, nullptr, 0); }
  EndingProcess(const EndingProcess&) = delete;
  EndingProcess& operator=(const EndingProcess&) = delete;

 private:
  pid_t pid_ = -1;
};

}  // namespace heca::test
