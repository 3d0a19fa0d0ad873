<?php
// SPDX-License-Identifier: MIT
// php-gearman, which stands on libgearman, as client and worker; the lines are in ../lines.md.

[, $role, $host, $port, $name] = $argv;

function say(string ...$words): void
{
    fwrite(STDOUT, implode(' ', $words) . "\n");
}

function blob(string $data): string
{
    return $data === '' ? '-' : base64_encode($data);
}

function unblob(string $word): string
{
    return $word === '-' ? '' : base64_decode($word);
}

function functions(): array
{
    $bytes = implode('', array_map('chr', range(0, 255)));
    $shifted = substr($bytes, 1) . $bytes[0];
    return [
        'shift' => fn($job) => strtr($job->workload(), $bytes, $shifted),
        'pieces' => function ($job) {
            $job->sendData('one');
            $job->sendData('two');
            return 'three';
        },
        'warn' => function ($job) {
            $job->sendWarning('careful');
            return 'done';
        },
        'progress' => function ($job) {
            $job->sendStatus(1, 2);
            return 'done';
        },
        'fail' => function ($job) {
            $job->sendFail();
        },
        'raise' => function ($job) {
            $job->sendException('broken');
        },
        'hold' => function ($job) {
            $job->sendStatus(1, 2);
            return file_get_contents($job->workload());
        },
        'unique' => fn($job) => $job->unique(),
    ];
}

function serve(string $host, int $port, string $name): void
{
    $worker = new GearmanWorker();
    $worker->addServer($host, $port);
    foreach (functions() as $function => $call) {
        $worker->addFunction("$name-$function", $call);
    }
    while (true) {
        if (!@$worker->work()) {
            fwrite(STDERR, "php: " . $worker->returnCode() . " " . $worker->error() . "\n");
        }
    }
}

function client(string $host, int $port): GearmanClient
{
    $client = new GearmanClient();
    $client->addServer($host, $port);
    $client->enableExceptionHandler();
    $client->setDataCallback(fn($task) => say('data', blob($task->data())));
    $client->setWarningCallback(fn($task) => say('warning', blob($task->data())));
    $client->setStatusCallback(
        fn($task) => say('status', $task->taskNumerator(), $task->taskDenominator())
    );
    $client->setCompleteCallback(fn($task) => say('complete', blob($task->data())));
    $client->setFailCallback(fn($task) => say('fail'));
    $client->setExceptionCallback(fn($task) => say('exception', blob($task->data())));
    return $client;
}

function answer(GearmanClient $client, string $line): void
{
    $tasks = ['high' => 'addTaskHigh', 'normal' => 'addTask', 'low' => 'addTaskLow'];
    $background = ['high' => 'doHighBackground', 'normal' => 'doBackground', 'low' => 'doLowBackground'];
    $words = explode(' ', $line);
    if ($words[0] === 'ask') {
        say('state', ...array_map(fn($word) => (string) (int) $word, $client->jobStatus($words[1])));
        return;
    }
    [$verb, $function, $priority, $unique, $workload] = $words;
    $unique = $unique === '-' ? null : $unique;
    if ($verb === 'queue') {
        say('created', $client->{$background[$priority]}($function, unblob($workload), $unique));
        return;
    }
    $client->{$tasks[$priority]}($function, unblob($workload), null, $unique);
    if (!$client->runTasks()) {
        fwrite(STDERR, "php: " . $client->error() . "\n");
    }
}

if (!extension_loaded('gearman')) {
    say('missing', blob('php-gearman'));
    exit(0);
}
say('ready', phpversion('gearman'));
if ($role === 'worker') {
    serve($host, (int) $port, $name);
}
$client = client($host, (int) $port);
while (($line = fgets(STDIN)) !== false) {
    answer($client, rtrim($line, "\n"));
}
