// SPDX-License-Identifier: LGPL-2.1-or-later
// hecactl: see cli/app.h and docs/cli.md.
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "cli/app.h"

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  const heca::cli::Output output{stdout, stderr, ::isatty(STDOUT_FILENO) == 1, ::isatty(STDERR_FILENO) == 1,
                                 stdin,  ::isatty(STDIN_FILENO) == 1};
  const int code =
      heca::cli::Run(args, output,
                     [](const heca::control::NodeClientOptions& options)
                         -> heca::Result<std::unique_ptr<heca::control::NodeApi>> {
                       HECA_ASSIGN_OR_RETURN(auto client, heca::control::NodeClient::Create(options));
                       return std::unique_ptr<heca::control::NodeApi>(std::move(client));
                     });
  // A result that could not be written is no success.
  return std::fflush(stdout) == 0 || code != 0 ? code : 1;
}
