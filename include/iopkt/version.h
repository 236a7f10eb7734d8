/* The release that a plug-in was built with. Plain C11. */
#ifndef IOPKT_VERSION_H
#define IOPKT_VERSION_H

#define IOPKT_VERSION "0.1.0"

#endif
