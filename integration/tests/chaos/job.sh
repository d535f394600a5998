# job.sh FOLDER LINES [held]: prints the numbers from 1 to LINES, in ten parts with pauses, and records
# in FOLDER that it starts and ends. With `held` it complains if another such job of its partition runs.
# It leaves a process behind, which is to be ended with it.
set -e
folder=$1 lines=$2 lock=$1/lock-$GARRISON_PARTITION
echo "$GARRISON_ATTEMPT" >> "$folder/started"
setsid sleep 1000 > /dev/null 2>&1 &
if [ "$3" = held ]; then
    if ! (set -C && echo "$GARRISON_ATTEMPT $$" > "$lock") 2> /dev/null; then
        # Whoever was killed could not take its marker away: it complains of the living.
        read -r other pid < "$lock"
        if { tr '\0' '\n' < "/proc/$pid/environ"; } 2> /dev/null | grep -qx "GARRISON_ATTEMPT=$other"; then
            echo "$GARRISON_ATTEMPT began while $other had the lock" >> "$folder/complaints"
        fi
        echo "$GARRISON_ATTEMPT $$" > "$lock"
    fi
fi
part=$((lines / 10)) from=1
while [ "$from" -le "$lines" ]; do
    seq "$from" $((from + part - 1))
    from=$((from + part))
    sleep 0.1
done
[ "$3" != held ] || rm "$lock"
echo "$GARRISON_ATTEMPT" >> "$folder/ended"
