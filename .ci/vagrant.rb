# Reads the Vagrantfile as Vagrant does, as far as it matters here, and prints the machines with how each is
# provisioned, a line of JSON each. What the Vagrantfile says beyond that is taken as it is.
require "json"

# Anything takes any message, and hands itself on.
class Anything
  def method_missing(*) = block_given? ? yield(self) : self
  def respond_to_missing?(*) = true
end

# Machine notes what the Vagrantfile says of one.
class Machine
  def initialize(id) = @said = { id: id }
  attr_reader :said
  def vm = self
  def hostname=(name)
    @said[:hostname] = name
  end

  def network(kind, ip:) = @said.update(network: kind, ip: ip)

  def provision(kind, path:, args:) = @said.update(kind: kind, path: path, args: args)
end

class Vm < Anything
  def define(id)
    machine = Machine.new(id)
    yield machine
    puts JSON.generate(machine.said)
  end
end

# Config is what Vagrant.configure hands on.
class Config
  def vm = @vm ||= Vm.new
end

module Vagrant
  def self.configure(version)
    abort "version #{version} of the format" unless version == "2"
    yield Config.new
  end
end

load ARGV.fetch(0)
