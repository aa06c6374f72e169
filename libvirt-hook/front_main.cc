// SPDX-License-Identifier: LGPL-2.1-or-later
// /etc/libvirt/hooks/qemu.d/50-heca itself, which runs for every domain of the host: it looks whether the domain asks for
// heca, and only then starts heca-hook-tell, which lies beside it and takes ten times as long to be loaded. No library.
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "domain/metadata.h"

namespace {

constexpr std::string_view kTeller = "heca-hook-tell";

std::string ReadAll(int fd) {
  std::string text;
  char room[65536];
  for (ssize_t got; (got = ::read(fd, room, sizeof room)) > 0;) text.append(room, static_cast<std::size_t>(got));
  return text;
}

/// Beside this program, wherever a symbolic link to it lies.
std::string Teller() {
  char path[4096];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  std::string self(path, length > 0 ? static_cast<std::size_t>(length) : 0);
  return self.substr(0, self.rfind('/') + 1).append(kTeller);
}

bool Supply(const std::string& text) {
  const int fd = ::memfd_create("heca-hook", 0);
  std::size_t done = 0;
  while (fd >= 0 && done < text.size()) {
    const ssize_t put = ::pwrite(fd, text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (put <= 0) return false;
    done += static_cast<std::size_t>(put);
  }
  return fd >= 0 && ::dup2(fd, STDIN_FILENO) == STDIN_FILENO;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view operation = argc > 2 ? argv[2] : "";
  if (operation != "started" && operation != "migrate" && operation != "release") return 0;
  const std::string xml = ReadAll(STDIN_FILENO);
  if (xml.find(heca::domain::kHecaNamespace) == std::string::npos) return 0;
  const std::string teller = Teller();
  if (Supply(xml)) ::execv(teller.c_str(), argv);
  std::fprintf(stderr, "heca: %s asks for heca, and %s cannot be started: %s; install heca anew\n", argc > 1 ? argv[1] : "",
               teller.c_str(), std::strerror(errno));
  return 1;
}
