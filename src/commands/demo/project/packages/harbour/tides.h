/* The tables that tidegen writes. */
#ifndef TIDES_H
#define TIDES_H

/* Degrees per hour. */
#define SPEED_M2 28.9841042
#define SPEED_S2 30.0
#define SPEED_N2 28.4397295
#define SPEED_K1 15.0410686
#define SPEED_O1 13.9430356

#define MAX_CONSTANTS 8

struct constant {
    double speed;
    double amplitude; /* metres */
    double phase;     /* degrees */
};

struct station {
    const char *name;
    double level; /* mean height in metres */
    struct constant constants[MAX_CONSTANTS];
};

extern const struct station stations[];
extern const int station_count;

#endif
