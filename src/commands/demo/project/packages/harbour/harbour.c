/* harbour: prints the height of the water, hour by hour. */
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tides.h"

#define CONFIG "/etc/harbour.conf"
#define RADIANS (3.14159265358979323846 / 180.0)

static const struct station *find_station(const char *name)
{
    for (int i = 0; i < station_count; i++)
        if (strcmp(stations[i].name, name) == 0)
            return &stations[i];
    return NULL;
}

static double height(const struct station *station, double hours)
{
    double sum = station->level;
    for (int i = 0; i < MAX_CONSTANTS; i++) {
        const struct constant *c = &station->constants[i];
        sum += c->amplitude * cos((fmod(c->speed * hours, 360.0) - c->phase) * RADIANS);
    }
    return sum;
}

/* Reads the default harbour's name into a buffer of 64 bytes. */
static void read_config(char *name)
{
    char line[128];
    FILE *file = fopen(CONFIG, "r");
    strcpy(name, "Brest");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        sscanf(line, "station = %63s", name);
    if (file != NULL)
        fclose(file);
}

static void print_json(const struct station *station, const char *date, double start)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *heights = cJSON_AddArrayToObject(root, "heights");
    cJSON_AddStringToObject(root, "station", station->name);
    cJSON_AddStringToObject(root, "date", date);
    for (int hour = 0; hour < 24; hour++)
        cJSON_AddItemToArray(heights, cJSON_CreateNumber(round(height(station, start + hour) * 100.0) / 100.0));
    char *text = cJSON_Print(root);
    puts(text);
    free(text);
    cJSON_Delete(root);
}

int main(int argc, char **argv)
{
    char name[64];
    struct tm day = {0};
    int json = argc > 1 && strcmp(argv[1], "--json") == 0;

    argc -= json;
    argv += json;
    read_config(name);
    if (argc == 3)
        snprintf(name, sizeof name, "%s", argv[1]);
    if (argc < 2 || argc > 3 || strptime(argv[argc - 1], "%Y-%m-%d", &day) == NULL) {
        fputs("usage: harbour [--json] [STATION] YEAR-MONTH-DAY\n", stderr);
        return 2;
    }

    const struct station *station = find_station(name);
    if (station == NULL) {
        fprintf(stderr, "harbour: no station '%s'\n", name);
        return 1;
    }

    double start = (double)timegm(&day) / 3600.0;
    if (json) {
        print_json(station, argv[argc - 1], start);
        return 0;
    }
    printf("%s, %s\n", station->name, argv[argc - 1]);
    for (int hour = 0; hour < 24; hour++)
        printf("%02d:00 %6.2f m\n", hour, height(station, start + hour));
    return 0;
}
