// Included before every file of the CPU library (setup.py), so that one build runs on Linux from glibc 2.28 and GCC 8's
// libstdc++ on, as torch's wheels do, wherever it was compiled: newer headers would ask for the newest version of these
// symbols. The older ones give the same values; they differ in what they do with errno. `auditwheel` (make wheel)
// proves it. The static libstdc++ is no way out: its own needs are those of the glibc that it was built for.
#pragma once
#if defined(__linux__) && defined(__x86_64__) && !defined(__clang_analyzer__)
#include <cstddef>  // defines __GLIBC__ and __GLIBCXX__ where they are in use
#if defined(__GLIBC__) && defined(__GLIBCXX__)
__asm__(
    ".symver exp, exp@GLIBC_2.2.5\n"
    ".symver exp2, exp2@GLIBC_2.2.5\n"
    ".symver log, log@GLIBC_2.2.5\n"
    ".symver log2, log2@GLIBC_2.2.5\n"
    ".symver pow, pow@GLIBC_2.2.5\n"
    ".symver _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE, "
    "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11\n");
#endif
#endif
