# SPDX-License-Identifier: Apache-2.0
"""Nova's own unit tests of its libvirt driver, with ours in its place: see compare.py."""
