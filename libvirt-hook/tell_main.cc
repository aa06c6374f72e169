// SPDX-License-Identifier: LGPL-2.1-or-later
#include <iostream>
#include <string>
#include <vector>

#include "hook/hook.h"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  return heca::hook::Run({argv + 1, argv + argc}, std::cin, std::cout, std::cerr);
}
